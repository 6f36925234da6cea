"""Certificates and lists that are written anew: taken by all who verify, the same each time, and in their time."""

import ipaddress
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.x509 import verification
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from pki import crl, issue, pem
from pki.issue import ANYTHING, Permitted
from testing import tls
from testing.certificates import issue as issued

KINDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "P-256": {"algorithm": "ECDSA", "ecdsaCurve": "P256"},
    "P-384": {"algorithm": "ECDSA", "ecdsaCurve": "P384"},
    "RSA": {"algorithm": "RSA", "rsaBits": 3072},
    "Ed25519": {"algorithm": "ED25519"},
}
NOW: Final = tls.STARTS
MINUTE: Final = timedelta(minutes=1)
_OPENSSL: Final = shutil.which("openssl")
_GO: Final = shutil.which("go")


def root_template(kind: str, name: str = "root", **given: Any) -> tuple[str, str]:
    """Return what the provider makes of a root, and its key."""
    key = tls.private_key(f"{name} {kind}", KINDS[kind])
    inputs = {
        "privateKeyPem": key, "isCaCertificate": True, "allowedUses": ["cert_signing", "crl_signing"],
        "subject": {"commonName": name, "organization": "Reflector"}, "setAuthorityKeyId": True,
    }  # fmt: skip
    return tls.self_signed(inputs | given), key


def leaf_template(
    root: str, root_key: str, *, client: bool = False, kind: str = "P-256", ends: datetime = tls.LEAF_ENDS, **names: Any
) -> str:
    """Return what the provider makes of a leaf."""
    request = tls.request(
        {"privateKeyPem": tls.private_key(f"leaf {kind}", KINDS[kind]), "subject": {"commonName": "leaf"}}
        | (names or {"dnsNames": ["a.test"], "ipAddresses": ["192.0.2.7"]})
    )
    inputs = {
        "certRequestPem": request, "caCertPem": root, "caPrivateKeyPem": root_key, "setSubjectKeyId": True,
        "allowedUses": ["digital_signature", "client_auth" if client else "server_auth"],
    }  # fmt: skip
    return tls.locally_signed(inputs, ends)


def made(kind: str = "P-384", permitted: Permitted = ANYTHING, **given: Any) -> tuple[str, str, str]:
    """Return a root, its key and a leaf, as they are shown."""
    template, key = root_template(kind)
    root = issue.root(template, key, permitted).certificate_pem
    return root, key, issue.leaf(leaf_template(root, key, **given), root, key).certificate_pem


def read(text: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(text.encode())


# --- Who verifies -----------------------------------------------------------------------------------------------------


def by_cryptography(leaf: str, root: str, at: datetime, name: str = "a.test") -> str:
    """Return what the verifier of Python's library says against a server's leaf, and what is behind it."""
    subject: Any = x509.DNSName(name)
    if name.replace(".", "").isdigit():
        subject = x509.IPAddress(ipaddress.ip_address(name))
    builder = verification.PolicyBuilder().store(verification.Store([read(root)])).time(at)
    try:
        builder.build_server_verifier(subject).verify(read(leaf), pem.certificates(leaf.encode())[1:])
    except verification.VerificationError as error:
        return str(error)
    return ""


def by_openssl(folder: Path, leaf: str, root: str, at: datetime, *, name: str = "a.test", revoked: str = "") -> str:
    """Return what OpenSSL says against it, as strict as it can be."""
    assert _OPENSSL
    for file, content in (("leaf.pem", leaf), ("root.pem", root), ("crl.pem", revoked)):
        (folder / file).write_text(content)
    lists = ["-crl_check", "-CRLfile", str(folder / "crl.pem")] if revoked else []
    done = subprocess.run(
        [
            _OPENSSL, "verify", "-x509_strict", "-check_ss_sig", "-attime", str(int(at.timestamp())),
            "-verify_hostname", name, *lists, "-CAfile", str(folder / "root.pem"),
            "-untrusted", str(folder / "leaf.pem"), str(folder / "leaf.pem"),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stderr


def by_go(*cases: dict[str, Any]) -> list[str]:
    """Return what Go's library says against each."""
    done = subprocess.run(
        [str(_GO), "run", str(Path(__file__).with_name("verify.go"))],
        input=json.dumps(cases), capture_output=True, text=True, check=False, env={**os.environ, "GO111MODULE": "off"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said: list[str] = json.loads(done.stdout)
    return said


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "Ed25519"])
def test_python_takes_what_is_issued(kind: str) -> None:
    root, _, leaf = made(kind)
    assert by_cryptography(leaf, root, NOW + MINUTE) == ""
    assert by_cryptography(leaf, root, NOW + MINUTE, "b.test")


@pytest.mark.skipif(_OPENSSL is None, reason="no openssl command here")
@pytest.mark.parametrize("kind", KINDS)
def test_openssl_takes_what_is_issued_and_tells_what_is_revoked(kind: str, tmp_path: Path) -> None:
    root, key, leaf = made(kind)
    assert by_openssl(tmp_path, leaf, root, NOW + MINUTE) == ""
    assert "hostname mismatch" in by_openssl(tmp_path, leaf, root, NOW + MINUTE, name="b.test")
    assert by_openssl(tmp_path, leaf, root, NOW + MINUTE, revoked=listed(root, key)) == "", "an empty list"
    revoked = crl.Revoked(serial=read(leaf).serial_number, reason="key-compromise", on=NOW)
    assert "certificate revoked" in by_openssl(tmp_path, leaf, root, NOW + MINUTE, revoked=listed(root, key, revoked))
    late = NOW + timedelta(days=15)
    assert "CRL has expired" in by_openssl(tmp_path, leaf, root, late, revoked=listed(root, key))


@pytest.mark.skipif(_GO is None, reason="no go command here")
def test_go_takes_what_is_issued_to_servers_and_clients_and_tells_what_is_revoked() -> None:
    cases: list[dict[str, Any]] = []
    expected: list[str] = []
    for kind in KINDS:
        root, key, leaf = made(kind)
        at = (NOW + MINUTE).isoformat()
        client = issue.leaf(leaf_template(root, key, client=True), root, key).certificate_pem
        revoked = listed(root, key, crl.Revoked(serial=read(client).serial_number, reason="superseded", on=NOW))
        for one, said in (
            ({"Leaf": leaf, "Name": "a.test"}, ""),
            ({"Leaf": leaf, "Name": "b.test"}, "x509: certificate is valid for a.test, not b.test"),
            ({"Leaf": client, "Client": True, "Revoked": listed(root, key)}, ""),
            ({"Leaf": client, "Client": True, "Revoked": revoked}, "revoked"),
            ({"Leaf": client}, "x509: certificate specifies an incompatible key usage"),
            ({"Leaf": leaf, "At": (NOW - timedelta(minutes=59)).isoformat()}, ""),
        ):
            cases.append({"Root": root, "At": at} | one)
            expected.append(said)
    assert by_go(*cases) == expected


# --- Times ------------------------------------------------------------------------------------------------------------


def test_a_clock_up_to_an_hour_behind_takes_leaf_and_root_from_the_first_moment_on() -> None:
    """Case d05: made at a second, both would be refused by a client whose clock is a minute behind."""
    template, key = root_template("P-384")
    early = NOW - timedelta(minutes=59)
    assert by_cryptography(leaf_template(template, key), template, early), "as the provider makes them"
    root, _, leaf = made()
    assert by_cryptography(leaf, root, early) == ""
    assert by_cryptography(leaf, root, NOW - timedelta(minutes=61))


def test_a_leaf_ends_with_its_authority_at_the_latest() -> None:
    """Case d03: clients fail when the authority ends, whatever the leaf says."""
    authority = issued("brief", now=NOW, ca=True, to_days=20)
    root, key = authority.pem.decode(), authority.key_pem.decode()
    written = issue.leaf(leaf_template(root, key), root, key)
    assert read(written.certificate_pem).not_valid_after_utc == authority.certificate.not_valid_after_utc
    assert datetime.fromisoformat(written.expires) == authority.certificate.not_valid_after_utc


def test_under_an_authority_that_has_ended_nothing_is_signed() -> None:
    authority = issued("ended", now=NOW, ca=True, from_days=-9, to_days=-1)
    root, key = authority.pem.decode(), authority.key_pem.decode()
    with pytest.raises(issue.IssueError, match=r"^the authority CN=ended ended on 2025-12-31$"):
        issue.leaf(leaf_template(root, key), root, key)


# --- Content ----------------------------------------------------------------------------------------------------------


def test_a_leaf_is_the_providers_but_for_its_times_serial_and_issuer() -> None:
    template, key = root_template("P-384")
    root = issue.root(template, key, ANYTHING).certificate_pem
    before = read(text := leaf_template(root, key))
    after = read(issue.leaf(text, root, key).certificate_pem)
    assert after.public_key() == before.public_key()
    assert after.subject.public_bytes() == before.subject.public_bytes()
    kinds = (x509.SubjectAlternativeName, x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectKeyIdentifier,
             x509.BasicConstraints)  # fmt: skip
    for kind in kinds:
        one = before.extensions.get_extension_for_class(kind)
        assert one == after.extensions.get_extension_for_class(kind)
    identifier = after.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    own = read(root).extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert identifier.key_identifier == own.digest
    pinned = (identifier.authority_cert_issuer, identifier.authority_cert_serial_number)
    assert pinned == (None, None), "it pins no certificate"


def test_the_name_of_the_issuer_is_copied_byte_for_byte() -> None:
    """Written anew as UTF8String it passes OpenSSL, and Go says that nobody knows the authority."""
    printable = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Company", x509.name._ASN1Type.PrintableString),
         x509.NameAttribute(NameOID.COMMON_NAME, "Ä root", x509.name._ASN1Type.BMPString)]
    )  # fmt: skip
    authority = issued("company", now=NOW, ca=True, to_days=999, subject=printable)
    root, key = authority.pem.decode(), authority.key_pem.decode()
    leaf = read(issue.leaf(leaf_template(root, key), root, key).certificate_pem)
    assert issue.issuer_name(leaf) == issue.subject_name(authority.certificate)
    assert b"\x13\x07Company" in issue.issuer_name(leaf), "PrintableString stays PrintableString"


def test_two_certificates_of_other_contents_have_other_serials() -> None:
    """Firefox refuses a second certificate of an issuer with a serial it has seen."""
    root, key, leaf = made()
    other = issue.leaf(leaf_template(root, key, dnsNames=["b.test"]), root, key).certificate_pem
    template = leaf_template(root, key)
    serials = {read(one).serial_number for one in (leaf, other, template)}
    assert len(serials) == 3
    for one in (leaf, other, root):
        assert 64 <= read(one).serial_number.bit_length() <= 159


def test_the_key_of_another_authority_is_refused() -> None:
    root, key, _ = made()
    with pytest.raises(issue.IssueError, match="has another key than the one it was to sign with"):
        issue.leaf(leaf_template(root, key), root, root_template("P-384", "other")[1])


def test_a_root_of_an_earlier_release_stays_as_it_is_to_the_last_byte() -> None:
    template, key = root_template("P-384", setAuthorityKeyId=False)
    assert issue.root(template, key, ANYTHING).certificate_pem == template
    with pytest.raises(issue.IssueError, match="is there already, and permits anything"):
        issue.root(template, key, Permitted(names=["test"]))


def test_a_root_may_sign_certificates_and_lists_and_have_one_authority_below_it() -> None:
    root = read(made()[0])
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 1)
    usage = root.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign and usage.value.crl_sign and usage.value.digital_signature


# --- Name constraints -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("permitted", "fine", "refused"),
    [
        (Permitted(names=["a.test"]), ["a.test", "x.a.test"], ["b.test", "192.0.2.7", "localhost", "::1"]),
        (Permitted(addresses=["192.0.2.0/24"]), ["192.0.2.7"], ["a.test", "198.51.100.1", "2001:db8::1"]),
        (
            Permitted(names=["a.test"], loopback=True),
            ["a.test", "localhost", "127.0.0.1", "::1"],
            ["192.0.2.7", "b.test", "2001:db8::1"],
        ),
        (Permitted(names=["a.test"], addresses=["2001:db8::/32"]), ["a.test", "2001:db8::7"], ["::1", "192.0.2.7"]),
    ],
)
def test_where_one_kind_of_name_is_permitted_the_other_is_constrained_as_well(
    permitted: Permitted, fine: list[str], refused: list[str], tmp_path: Path
) -> None:
    for name in (*fine, *refused):
        is_address = ":" in name or name.replace(".", "").isdigit()
        names: Any = {"ipAddresses" if is_address else "dnsNames": [name]}
        root, _, leaf = made(permitted=permitted, **names)
        said = permitted.forbidden(name)
        assert bool(said) == (name in refused), name
        if not is_address:
            assert bool(by_cryptography(leaf, root, NOW + MINUTE, name)) == (name in refused), name
        if _OPENSSL:
            trusted = by_openssl(tmp_path, leaf, root, NOW + MINUTE, name=name) if not is_address else None
            assert trusted is None or bool(trusted) == (name in refused), name


@pytest.mark.skipif(_GO is None, reason="no go command here")
def test_go_holds_names_and_addresses_against_the_constraints() -> None:
    permitted = Permitted(names=["a.test"], loopback=True)
    at = (NOW + MINUTE).isoformat()
    cases = []
    several: Any = ({"dnsNames": ["a.test", "localhost"], "ipAddresses": ["127.0.0.1", "::1"]},
                  {"dnsNames": ["a.test"], "ipAddresses": ["192.0.2.7"]}, {"dnsNames": ["b.test"]})  # fmt: skip
    for names in several:
        root, _, leaf = made(permitted=permitted, **names)
        cases.append({"Leaf": leaf, "Root": root, "At": at})
    served, address, other = by_go(*cases)
    assert served == "", "localhost of our own must not make the whole leaf invalid"
    assert "is not permitted by any constraint" in address
    assert "is not permitted by any constraint" in other


def test_where_nothing_is_permitted_by_name_everything_is() -> None:
    assert Permitted().constraints() is None
    assert Permitted(loopback=True).forbidden("b.test") == ""


# --- The same each time -----------------------------------------------------------------------------------------------

LABEL: Final = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
DNS: Final = st.lists(LABEL, min_size=1, max_size=4).map(lambda labels: ".".join([*labels, "test"]))
ADDRESS: Final = st.ip_addresses().map(str)


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    dns=st.lists(DNS, min_size=1, max_size=8, unique=True),
    addresses=st.lists(ADDRESS, max_size=6, unique=True),
    hours=st.integers(min_value=1, max_value=24 * 4000),
)
def test_whatever_is_asked_for_is_issued_the_same_each_time_and_inside_its_authority(
    kind: str, dns: list[str], addresses: list[str], hours: int
) -> None:
    template, key = root_template(kind)
    first, again = (issue.root(template, key, ANYTHING) for _ in range(2))
    assert first == again
    root = first.certificate_pem
    asked = leaf_template(root, key, ends=NOW + timedelta(hours=hours), dnsNames=dns, ipAddresses=addresses)
    leaf = issue.leaf(asked, root, key)
    assert leaf == issue.leaf(asked, root, key)
    one = read(leaf.certificate_pem)
    assert one.not_valid_before_utc == NOW - timedelta(hours=1)
    assert one.not_valid_after_utc == min(NOW + timedelta(hours=hours), tls.ROOT_ENDS)
    names = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == dns
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == addresses
    one.verify_directly_issued_by(read(root))
    if kind != "Ed25519":
        assert by_cryptography(leaf.certificate_pem, root, NOW, dns[0]) == ""


# --- Lists ------------------------------------------------------------------------------------------------------------


def listed(root: str, key: str, *revoked: crl.Revoked, number: int = 7) -> str:
    return crl.revocation_list(
        root, key, revoked, number=number, this_update=NOW - timedelta(hours=1), next_update=NOW + timedelta(days=14)
    )


def test_a_list_says_whose_it_is_its_number_its_times_and_why_each_was_revoked() -> None:
    root, key, _ = made()
    entries = [
        crl.Revoked(serial=9, reason="unspecified", on=NOW),
        crl.Revoked(serial=5, reason="key-compromise", on=NOW + timedelta(days=1)),
        crl.Revoked(serial=5, reason="superseded", on=NOW),
    ]
    text = listed(root, key, *entries)
    assert text == listed(root, key, *reversed(entries)), "the same, in whatever order they are named"
    made_list = x509.load_pem_x509_crl(text.encode())
    assert made_list.is_signature_valid(read(root).public_key())  # type: ignore[arg-type]  # it signs
    assert made_list.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7
    identifier = made_list.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert identifier == read(root).extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert made_list.next_update_utc == NOW + timedelta(days=14)
    assert [one.serial_number for one in made_list] == [5, 9]
    assert [one.revocation_date_utc for one in made_list] == [NOW, NOW], "revoked twice: since the first time"
    reasons = [list(one.extensions) for one in made_list]
    assert [len(one) for one in reasons] == [1, 0], "no reason is said by saying nothing"
    assert reasons[0][0].value == x509.CRLReason(x509.ReasonFlags.superseded)


@pytest.mark.parametrize("reason", sorted(crl.REASONS))
def test_every_reason_can_be_given(reason: str) -> None:
    root, key, _ = made("Ed25519")
    assert (
        len(list(x509.load_pem_x509_crl(listed(root, key, crl.Revoked(serial=5, reason=reason, on=NOW)).encode()))) == 1
    )


def test_an_empty_list_is_a_list() -> None:
    root, key, _ = made("RSA")
    assert list(x509.load_pem_x509_crl(listed(root, key).encode())) == []
    assert len(pem.certificates(root.encode())) == 1
