"""A root away from every stack and the authorities it signs: what all who verify take, and what is refused."""

from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pki import facts, issue, offline, pem
from pki.issue import ANYTHING, IssueError, Permitted, SigningKey
from pki.signer import Signer, signer
from tests.unit.pki.test_issue import _GO, _OPENSSL, MINUTE, NOW, by_cryptography, by_go, by_openssl, leaf_template

ROOT_KEY: Final = ec.generate_private_key(ec.SECP384R1())
KEYS: Final[dict[str, SigningKey]] = {
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "P-384": ec.generate_private_key(ec.SECP384R1()),
    "RSA": rsa.generate_private_key(public_exponent=65537, key_size=3072),
}
SERVERS: Final[dict[str, Any]] = {"uses": offline.SERVERS_ONLY}


def root(*, years: int = 20, permitted: Permitted = ANYTHING) -> pem.Certificate:
    return offline.root("Root of a test", ROOT_KEY, now=NOW, years=years, permitted=permitted)


def issuing(
    over: pem.Certificate, kind: str = "P-384", *, permitted: Permitted = ANYTHING, **given: Any
) -> pem.Certificate:
    asked = {"now": NOW, "years": 5, **given}
    return offline.issuing("Issuing of a test", KEYS[kind], over, ROOT_KEY, permitted=permitted, **asked)


def shown(
    one: pem.Certificate, over: pem.Certificate, kind: str = "P-384", *, client: bool = False, **names: Any
) -> str:
    """Return what a server shows: a leaf, and who has signed it."""
    who, key = pem.certificates_text([one]), pem.private_key_text(KEYS[kind])
    leaf = issue.leaf(leaf_template(who, key, client=client, **names), who, key).certificate_pem
    found = signer(
        pem.certificates_text([one, over]).encode(), key.encode(), leaf_hours=24, served=(), now=NOW + MINUTE
    )
    assert isinstance(found, Signer), found
    assert (found.root, found.anchor) == (pem.certificates_text([over]), facts.fingerprint(over))
    return leaf + found.chain


@pytest.mark.parametrize("kind", KEYS)
def test_python_takes_a_leaf_under_it(kind: str) -> None:
    over = root()
    leaf = shown(issuing(over, kind, **SERVERS), over, kind)
    assert by_cryptography(leaf, pem.certificates_text([over]), NOW + MINUTE) == ""
    assert by_cryptography(leaf, pem.certificates_text([over]), NOW + MINUTE, "b.test")


@pytest.mark.skipif(_OPENSSL is None, reason="no openssl command here")
@pytest.mark.parametrize("kind", KEYS)
def test_openssl_takes_a_leaf_under_it(kind: str, tmp_path: Path) -> None:
    over = root()
    leaf = shown(issuing(over, kind, **SERVERS), over, kind)
    assert by_openssl(tmp_path, leaf, pem.certificates_text([over]), NOW + MINUTE) == ""
    other = offline.root("Another", KEYS["P-256"], now=NOW, years=20, permitted=ANYTHING)
    assert by_openssl(tmp_path, leaf, pem.certificates_text([other]), NOW + MINUTE)


@pytest.mark.skipif(_GO is None, reason="no go command here")
def test_go_takes_a_leaf_under_it_for_what_it_is_for() -> None:
    over = root()
    at, top = (NOW + MINUTE).isoformat(), pem.certificates_text([over])
    limited = Permitted(names=("a.test",))
    cases: list[tuple[dict[str, Any], str]] = [
        ({"Leaf": shown(issuing(over, **SERVERS), over), "Name": "a.test"}, ""),
        ({"Leaf": shown(issuing(over), over, client=True), "Client": True}, ""),
        ({"Leaf": shown(issuing(over, permitted=limited), over, dnsNames=["a.test"]), "Name": "a.test"}, ""),
        (
            {"Leaf": shown(issuing(over, permitted=limited), over, dnsNames=["b.test"]), "Name": "b.test"},
            "not permitted",
        ),
        # What only signs for servers lets nobody in, whatever it puts in a leaf.
        ({"Leaf": shown(issuing(over, **SERVERS), over, client=True), "Client": True}, "incompatible key usage"),
    ]
    said = by_go(*({"Root": top, "At": at, **one} for one, _ in cases))
    for (_, expected), found in zip(cases, said, strict=True):
        assert expected in found if expected else not found


def test_a_root_signs_one_authority_below_it_and_that_one_leaves_alone() -> None:
    over = root(permitted=Permitted(names=("a.test",)))
    below = issuing(over, permitted=Permitted(addresses=("192.0.2.0/24",)), **SERVERS)
    for one, length in ((over, 1), (below, 0)):
        constraints = facts.extension(one, x509.BasicConstraints)
        assert constraints == x509.BasicConstraints(ca=True, path_length=length)
        assert facts.extension(one, x509.KeyUsage) == issue.SIGNS
        for kind in (x509.BasicConstraints, x509.KeyUsage, x509.NameConstraints):
            assert one.extensions.get_extension_for_class(kind).critical
    assert facts.extension(below, x509.NameConstraints) == Permitted(addresses=("192.0.2.0/24",)).constraints()
    assert facts.extension(below, x509.ExtendedKeyUsage) == x509.ExtendedKeyUsage(offline.SERVERS_ONLY)
    assert facts.extension(below, x509.AuthorityKeyIdentifier) == issue.authority_key(over)
    assert facts.signed_by(below, over)
    assert (over.not_valid_before_utc, below.not_valid_before_utc) == (NOW - issue.BACKDATED,) * 2
    assert below.not_valid_after_utc - NOW == timedelta(days=5 * 365)


def test_a_renewed_one_has_the_key_name_uses_and_limits_of_before_and_its_leaves_hold_under_both() -> None:
    over = root()
    old = issuing(over, permitted=Permitted(names=("a.test",)), **SERVERS)
    later = NOW + timedelta(days=30)
    new = offline.renewed(old, over, ROOT_KEY, now=later, years=5)
    assert (new.subject, new.public_key(), new.serial_number != old.serial_number) == (
        old.subject,
        old.public_key(),
        True,
    )
    for kind in (x509.NameConstraints, x509.ExtendedKeyUsage, x509.BasicConstraints, x509.SubjectKeyIdentifier):
        assert new.extensions.get_extension_for_class(kind) == old.extensions.get_extension_for_class(kind)
    assert new.not_valid_after_utc == later + timedelta(days=5 * 365)
    who, key = pem.certificates_text([old]), pem.private_key_text(KEYS["P-384"])
    leaf = issue.leaf(leaf_template(who, key, dnsNames=["a.test"]), who, key).certificate_pem
    for between in (old, new):
        behind = pem.certificates_text([between])
        assert by_cryptography(leaf + behind, pem.certificates_text([over]), later + MINUTE) == ""


def test_what_a_root_may_not_sign_is_refused() -> None:
    over = root(years=3)
    with pytest.raises(IssueError, match=r"5 years end on 20.*, after the root on 20.*: give fewer"):
        issuing(over)
    with pytest.raises(IssueError, match="the root CN=Root of a test,O=Reflector: expired on"):
        issuing(over, now=NOW + timedelta(days=1096), years=1)
    with pytest.raises(IssueError, match="CN=Issuing of a test,O=Reflector: it may sign no authorities"):
        offline.issuing("x", KEYS["P-256"], issuing(over, years=2), KEYS["P-384"], now=NOW, years=1, permitted=ANYTHING)
    with pytest.raises(IssueError, match="the key is that of another certificate"):
        offline.issuing("x", KEYS["P-256"], over, KEYS["P-256"], now=NOW, years=1, permitted=ANYTHING)
    with pytest.raises(IssueError, match="needs another name than its root"):
        offline.issuing("Root of a test", KEYS["P-256"], over, ROOT_KEY, now=NOW, years=1, permitted=ANYTHING)
    for name in ("", "x" * 65):
        with pytest.raises(IssueError, match="1 to 64 characters"):
            offline.root(name, ROOT_KEY, now=NOW, years=1, permitted=ANYTHING)
