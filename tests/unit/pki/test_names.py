"""Names in certificates, held against what others make of them."""

import ipaddress
import string
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, pkcs7, pkcs12
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pki import names
from pki.server import ServerCertificate, server_certificate
from testing.certificates import Issued, issue

NOW: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
FEW: Final = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY: Final = settings(FEW, max_examples=400)

# Few letters and few labels, so that names that match are made as often as names that do not.
LABELS: Final = st.sampled_from(["a", "b", "B", "xn--bcher-kva", "a-b", "c0"])
NAMES: Final = st.lists(LABELS, min_size=2, max_size=5).map(".".join)
WILDCARDS: Final = NAMES.filter(lambda name: name.count(".") > 0).map(lambda name: f"*.{name}")
ADDRESSES: Final = st.one_of(
    st.integers(0, 3).map(lambda last: ipaddress.ip_address(f"192.0.2.{last}")),
    st.integers(0, 3).map(lambda last: ipaddress.ip_address(f"2001:db8::{last:x}")),
)
SERVED: Final = st.one_of(NAMES, ADDRESSES.map(str))


def strict(name: str, by: Issued | None, *, sans: list[str] | None = None, limit: x509.NameConstraints | None = None,
           identifier: str = "") -> Issued:  # fmt: skip
    """Return a certificate `cryptography.x509.verification` takes; it is an authority's where it has no names."""
    ca = sans is None
    bare = issue(name, by, now=NOW, identifier=identifier or name)
    over = (by or bare).certificate.public_key()
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(over), False),  # type: ignore[arg-type]  # EC, all of them
    ]
    if ca:
        extensions += [
            (x509.SubjectKeyIdentifier.from_public_key(bare.certificate.public_key()), False),
            (x509.KeyUsage(False, False, False, False, False, True, True, False, False), True),
        ]
    if limit is not None:
        extensions.append((limit, True))
    return issue(name, by, now=NOW, ca=ca, sans=sans, extensions=extensions, identifier=identifier or name)


ROOT: Final = strict("root", None)


def verifies(leaf: Issued, between: list[Issued], name: str) -> bool:
    """Return what `cryptography.x509.verification` says, an implementation of its own in Rust."""
    wanted = names.address(name)
    builder = PolicyBuilder().store(Store([ROOT.certificate])).time(NOW)
    verifier = builder.build_server_verifier(x509.IPAddress(wanted) if wanted else x509.DNSName(name))
    try:
        verifier.verify(leaf.certificate, [one.certificate for one in between])
    except VerificationError:
        return False
    return True


@FEW
@given(st.lists(st.one_of(NAMES, WILDCARDS, ADDRESSES.map(lambda one: f"ip:{one}")), min_size=1, max_size=4), SERVED)
def test_a_name_is_covered_where_others_say_so(sans: list[str], name: str) -> None:
    # One key for all: what is looked at are names.
    leaf = strict("leaf", ROOT, sans=sans, identifier="leaf")
    assert (names.uncovered(leaf.certificate, name) == "") == verifies(leaf, [], name)


@FEW
@given(
    st.lists(st.one_of(NAMES, WILDCARDS), min_size=1, max_size=3),
    st.lists(NAMES, max_size=2),
    st.lists(NAMES, max_size=2),
)
def test_a_name_is_permitted_where_others_say_so(sans: list[str], permitted: list[str], excluded: list[str]) -> None:
    if not permitted and not excluded:
        return
    limit = x509.NameConstraints(
        list(map(x509.DNSName, permitted)) or None, list(map(x509.DNSName, excluded)) or None
    )  # fmt: skip
    inter = strict("inter", ROOT, limit=limit, identifier="inter")
    leaf = strict("leaf", inter, sans=sans, identifier="leaf")
    allowed = not any(names.forbidden(inter.certificate, one) for one in sans)
    name = sans[0].replace("*", "w", 1)
    verified = verifies(leaf, [inter], name)
    # It takes a wildcard for permitted where one name of it is; what Go or OpenSSL refuses is of no use.
    assert verified if allowed else not verified or any(one.startswith("*") for one in sans)


@FEW
@given(
    ADDRESSES,
    st.lists(st.tuples(ADDRESSES, st.integers(0, 32)), max_size=2),
    st.lists(st.tuples(ADDRESSES, st.integers(0, 32)), max_size=2),
)
def test_an_address_is_permitted_where_others_say_so(
    address: names.Address,
    permitted: list[tuple[names.Address, int]],
    excluded: list[tuple[names.Address, int]],
) -> None:
    if not permitted and not excluded:
        return

    def networks(of: list[tuple[names.Address, int]]) -> list[x509.GeneralName] | None:
        return [x509.IPAddress(ipaddress.ip_network((one, bits), strict=False)) for one, bits in of] or None

    limit = x509.NameConstraints(networks(permitted), networks(excluded))
    inter = strict("inter", ROOT, limit=limit, identifier="inter")
    leaf = strict("leaf", inter, sans=[f"ip:{address}"], identifier="leaf")
    assert (names.forbidden(inter.certificate, str(address)) == "") == verifies(leaf, [inter], str(address))


@MANY
@given(st.text(string.ascii_letters + string.digits + "-.*", max_size=20), NAMES)
def test_a_wildcard_is_the_whole_leftmost_label_and_stands_for_one(pattern: str, name: str) -> None:
    if names.matches(pattern, name):
        said, asked = pattern.lower().split("."), name.lower().split(".")
        assert len(said) == len(asked)
        assert said[1:] == asked[1:]
        assert said[0] in ("*", asked[0])
    assert names.matches(name.upper(), name)
    assert names.matches(name, f"{name}.")


@MANY
@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_is_asked_has_an_answer(pattern: str, name: str) -> None:
    names.matches(pattern, name)
    names.address(name)


# --- Whatever a chain comes in, what is written of it is the same -----------------------------------------------------

INTER: Final = issue("inter", ROOT, now=NOW, ca=True)
LEAF: Final = issue("leaf", INTER, now=NOW, sans=["a.example"])
PARTS: Final = [LEAF.certificate, INTER.certificate, ROOT.certificate]
NOISE: Final = st.sampled_from(
    [b"", b"\n", b"\r\n\r\n", b"Bag Attributes\r\n  friendlyName: R\xe9union\n", b"# of the year\n", b"\0", b"-----\n"]
)
ENDS: Final = st.sampled_from([b"\n", b"\r\n", b"\r", b"\n \t"])


@st.composite
def containers(draw: st.DrawFn) -> bytes:
    """Draw the leaf and the one over it, perhaps with the root, in any order, form and noise."""
    every = draw(st.permutations(PARTS if draw(st.booleans()) else PARTS[:2]))
    form = draw(st.sampled_from(["pem", "der", "pkcs7", "pkcs7 in pem", "pkcs12", "utf-16"]))
    if form == "der":
        return b"".join(one.public_bytes(Encoding.DER) for one in every)
    if form == "pkcs7":
        return pkcs7.serialize_certificates(every, Encoding.DER)
    if form == "pkcs7 in pem":
        return draw(NOISE) + pkcs7.serialize_certificates(every, Encoding.PEM).rstrip() + draw(NOISE)
    if form == "pkcs12":
        return pkcs12.serialize_key_and_certificates(None, None, None, every, NoEncryption())
    if form == "utf-16":
        return "".join(one.public_bytes(Encoding.PEM).decode() for one in every).encode("utf-16")
    blocks = [one.public_bytes(Encoding.PEM).rstrip().replace(b"\n", draw(ENDS)) for one in every]
    mark = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    return mark + b"".join(part for block in blocks for part in (draw(NOISE), block)) + draw(NOISE)


@settings(FEW, max_examples=200)
@given(containers())
def test_whatever_it_comes_in_the_same_is_written(data: bytes) -> None:
    found = server_certificate(data, LEAF.key_pem, served=["a.example"], now=NOW)
    assert isinstance(found, ServerCertificate), found
    assert found.chain.encode() == LEAF.pem + INTER.pem
    assert found.key.encode() == LEAF.key_pem


@settings(FEW, max_examples=300)
@example(b"0", 0, 0)
@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 5))
def test_damage_is_refused_in_words_and_never_with_a_traceback(noise: bytes, at: int, length: int) -> None:
    for whole in (LEAF.der, LEAF.pem, pkcs7.serialize_certificates(PARTS[:2], Encoding.DER)):
        damaged = whole[:at] + noise[:length] + whole[at + length :]
        for data in (damaged, noise):
            found = server_certificate(data, LEAF.key_pem, served=["a.example"], now=NOW)
            if isinstance(found, list):
                assert found
                assert all(reason and "\n" not in reason for _, reason in found)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (x509.DirectoryName(x509.Name([])), True),
        (x509.RFC822Name("example.com"), True),
        (x509.DNSName("example.com"), False),
    ],
)
def test_constraints_of_another_kind_are_left_to_clients(name: x509.GeneralName, said: bool) -> None:
    of = issue("limited", ROOT, now=NOW, ca=True, extensions=[(x509.NameConstraints(None, [name]), True)])
    assert names.unjudged(of.certificate) is said
    assert timedelta(days=80) < of.certificate.not_valid_after_utc - NOW
