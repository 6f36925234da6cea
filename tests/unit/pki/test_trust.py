"""Authorities people bring to be trusted, and those they bring to sign with."""

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, pkcs7, pkcs12

from pki.client import AUTHORITY, KEY
from pki.signer import Signer, signer
from pki.trust import Authorities, Source, authorities
from testing.certificates import Issued, issue, with_serial

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NAME = "a.corp.example"
ROOT = issue("root", now=NOW, ca=True, to_days=3000)
INTER = issue("inter", ROOT, now=NOW, ca=True, to_days=1000)
LEAF = issue("leaf", INTER, now=NOW, sans=[NAME])
PLAIN = issue("plain", now=NOW)
LATE = issue("late", now=NOW, ca=True, from_days=-9, to_days=-2)
EARLY = issue("early", now=NOW, ca=True, from_days=1)
TWIN = issue("root", now=NOW, ca=True, identifier="twin")
SHORT = issue("short", now=NOW, ca=True, kind="rsa1024")
SERIAL = issue("serial", now=NOW, ca=True, serial=0x0101010101)
NEGATIVE = SERIAL.der.replace(bytes.fromhex("02050101010101"), bytes.fromhex("02058001010101"))


DSA = issue("dsa", now=NOW, ca=True, kind="dsa")
RULE = "RSA of 2048 bits or more, P-256 or P-384"


def pkcs7_of(body: bytes) -> bytes:
    return b"-----BEGIN PKCS7-----\n" + body + b"\n-----END PKCS7-----\n"


def read(*files: bytes) -> Authorities | list[tuple[str, str]]:
    return authorities([Source(name=f"file{number}", data=data) for number, data in enumerate(files, 1)], NOW)


@pytest.mark.parametrize(
    "files",
    [
        [ROOT.pem + INTER.pem],
        [ROOT.pem, INTER.pem, ROOT.pem],
        [b"Bag Attributes\n  friendlyName: R\xe9union\n" + ROOT.pem.rstrip() + INTER.pem],
        [ROOT.der, INTER.der],
        [ROOT.pem, pkcs7.serialize_certificates([ROOT.certificate, INTER.certificate], Encoding.DER)],
        [
            pkcs12.serialize_key_and_certificates(
                None, None, None, [ROOT.certificate, INTER.certificate], NoEncryption()
            )
        ],
    ],
)
def test_each_is_trusted_once_in_the_order_they_came(files: list[bytes]) -> None:
    found = read(*files)
    assert isinstance(found, Authorities), found
    assert found.bundle.encode() == ROOT.pem + INTER.pem
    assert (found.subjects, found.warnings) == (("CN=root", "CN=inter"), ())
    assert found.earliest_end == NOW + timedelta(days=1000)


@pytest.mark.parametrize(
    ("files", "bundle", "said"),
    [
        ([ROOT.pem + LATE.pem], ROOT.pem, "file1: CN=late left out, expired on 2026-05-30"),
        ([EARLY.pem], EARLY.pem, "file1: CN=early is not valid before 2026-06-02 12:00 UTC"),
        ([LEAF.pem + INTER.pem], INTER.pem, "file1: left out, number 1 in it is no CA certificate: CN=leaf"),
        ([DSA.pem], DSA.pem, f"file1: CN=dsa has a key of a kind TLS does not use: {RULE}"),
        ([SHORT.pem], SHORT.pem, "file1: CN=short has an RSA key of 1024 bits"),
        ([ROOT.pem, TWIN.pem], ROOT.pem + TWIN.pem, "two authorities of one name with different keys: CN=root, "),
    ],
)
def test_what_is_doubtful_is_a_warning(files: list[bytes], bundle: bytes, said: str) -> None:
    found = read(*files)
    assert isinstance(found, Authorities), found
    assert found.bundle.encode() == bundle
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith(said)


@pytest.mark.parametrize(
    ("files", "wrong"),
    [
        ([ROOT.pem, LEAF.pem], [("file2", "number 1 in it is no CA certificate: CN=leaf")]),
        ([PLAIN.pem], [("file1", "number 1 in it is no CA certificate: CN=plain")]),
        (
            [ROOT.pem + ROOT.key_pem],
            [("file1", "a private key in it, which is needed by nobody to trust an authority")],
        ),
        ([ROOT.key_pem], [("file1", "no certificate in it, but: private key")]),
        ([ROOT.der + NEGATIVE], [("file1", "number 2 in it has a negative serial number")]),
        ([with_serial(ROOT, b"\x7f" * 21)], [("file1", "number 1 in it has a serial number of more than 20 bytes")]),
        ([pkcs7_of(b"!!!!")], [("file1", "a block PKCS7 that cannot be read")]),
        ([pkcs7_of(b"MIIB")], [("file1", "a PKCS #7 that cannot be read")]),
        ([b"0"], [("file1", "a file that is cut off")]),
        ([LATE.pem], [("file1", "nothing in it that is still valid")]),
        (
            [b"x", b""],
            [
                ("file1", "no certificate and no key in it, but: a text or a file of another kind"),
                ("file2", "no certificate and no key in it, but: nothing"),
            ],
        ),
    ],
)
def test_what_is_no_authority_is_refused(files: list[bytes], wrong: list[tuple[str, str]]) -> None:
    assert read(*files) == wrong


def limited(*permitted: x509.GeneralName, excluded: list[x509.GeneralName] | None = None) -> Issued:
    constraints = x509.NameConstraints(list(permitted) or None, excluded)
    return issue("limited", now=NOW, ca=True, extensions=[(constraints, True)])


def sign(
    of: Issued, more: bytes = b"", key: bytes | None = None, leaf_hours: int = 24, between: int = 0
) -> Signer | list[tuple[str, str]]:
    key = key or of.key_pem
    return signer(of.pem + more, key, leaf_hours=leaf_hours, served=[NAME, "192.0.2.7"], now=NOW, between=between)


HERE, NET = x509.DNSName("corp.example"), x509.IPAddress(ipaddress.ip_network("192.0.2.0/24"))
KEY_USAGE = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
PATH_0 = issue("path 0", now=NOW, ca=True, path_length=0)
BELOW = issue("below", PATH_0, now=NOW, ca=True)


def test_who_may_sign_is_written_anew() -> None:
    found = sign(INTER, ROOT.pem)
    assert isinstance(found, Signer), found
    assert (found.chain.encode(), found.root, found.key.encode()) == (INTER.pem, ROOT.pem.decode(), INTER.key_pem)
    assert found.expiry == NOW + timedelta(days=1000)
    assert "PRIVATE" not in repr(found)
    root = sign(ROOT)
    assert isinstance(root, Signer)
    assert (root.chain, root.root) == ("", ROOT.pem.decode())
    assert isinstance(sign(limited(HERE, NET)), Signer)
    assert isinstance(sign(PATH_0), Signer)


def of_pkcs12(password: str | None) -> Signer | list[tuple[str, str]]:
    data = pkcs12.serialize_key_and_certificates(
        b"x",
        INTER.key,  # type: ignore[arg-type]  # no key of a test is for key agreement
        INTER.certificate,
        [ROOT.certificate],
        BestAvailableEncryption(b"right"),
    )
    return signer(data, None, password=password, leaf_hours=24, served=[NAME], now=NOW)


def test_who_may_sign_comes_in_one_file_with_its_key() -> None:
    found = of_pkcs12("right")
    assert isinstance(found, Signer), found
    assert (found.certificate.encode(), found.key.encode()) == (INTER.pem, INTER.key_pem)
    assert (found.chain.encode(), (found.root or "").encode()) == (INTER.pem, ROOT.pem)


def test_constraints_nobody_here_judges_are_told() -> None:
    found = sign(limited(HERE, NET, excluded=[x509.RFC822Name("corp.example")]))
    assert isinstance(found, Signer), found
    assert "CN=limited has name constraints of other kinds than DNS names and addresses" in found.warnings


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        (sign(LEAF), [(AUTHORITY, "no CA certificate: CN=leaf")]),
        (sign(ROOT, key=INTER.key_pem), [(KEY, "the key of another certificate")]),
        (sign(LATE), [(AUTHORITY, "expired on 2026-05-30")]),
        (
            sign(ROOT, leaf_hours=24 * 4000),
            [(AUTHORITY, "ends on 2034-08-18 12:00 UTC, before a leaf of 96000 hours would")],
        ),
        (
            sign(PATH_0, between=1),
            [(AUTHORITY, "its path length allows 0 authorities below it, and there is a need for 1")],
        ),
        (
            sign(BELOW, PATH_0.pem),
            [
                (
                    AUTHORITY,
                    "CN=path 0 over it: its path length allows 0 authorities below it, and there is a need for 1",
                )
            ],
        ),
        (
            sign(limited(x509.DNSName("other.example"))),
            [(AUTHORITY, f"may not sign for {NAME}: its name constraints permit other.example")],
        ),
        (
            sign(limited(HERE, excluded=[NET])),
            [(AUTHORITY, "may not sign for 192.0.2.7: its name constraints exclude that")],
        ),
        (
            sign(issue("no", now=NOW, ca=True, extensions=[(KEY_USAGE, True)])),
            [(AUTHORITY, "a CA certificate that may not sign others (its key usage has no keyCertSign)")],
        ),
        (sign(SHORT), [(AUTHORITY, "an RSA key of 1024 bits, which is too short: 2048 or more")]),
        (of_pkcs12("wrong"), [(AUTHORITY, "wrong password, or damaged")]),
        (of_pkcs12(None), [(AUTHORITY, "no password is given, and it has one")]),
        (signer(ROOT.pem, None, leaf_hours=24, served=[NAME], now=NOW), [(KEY, "none is given")]),
        (
            signer(ROOT.key_pem, ROOT.pem, leaf_hours=24, served=[NAME], now=NOW),
            [(AUTHORITY, "no certificate in it, but: private key")],
        ),
        (sign(DSA), [(AUTHORITY, f"a key of a kind TLS does not use: {RULE}")]),
        (
            sign(issue("ed", now=NOW, ca=True, kind="ed25519")),
            [(AUTHORITY, f"an Ed25519 key, which no browser takes: {RULE}")],
        ),
        (sign(ROOT, ROOT.key_pem), [(AUTHORITY, "a private key in it, which belongs in a file of its own")]),
    ],
)
def test_who_may_not_sign_is_refused(found: Signer | list[tuple[str, str]], wrong: list[tuple[str, str]]) -> None:
    assert found == wrong
