"""A certificate people bring for a server: every defect, each with the line it is told in."""

import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs7,
    pkcs12,
)
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from pki import pem
from pki.chain import chain
from pki.client import CERTIFICATE, KEY
from pki.names import forbidden, matches
from pki.server import CHAIN, ServerCertificate, server_certificate
from testing.certificates import Issued, issue

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NAME = "a.example.com"
SECRET = "a-word-nobody-sees"


def usages(*, sign: bool = False, digital: bool = True) -> tuple[x509.ExtensionType, bool]:
    return x509.KeyUsage(digital, False, False, False, False, sign, False, False, False), True


def leaf(by: Issued | None, *sans: str, **more: object) -> Issued:
    names = sans or (NAME, "ip:192.0.2.7", "ip:2001:db8::7")
    return issue("leaf", by, now=NOW, sans=names, **more)  # type: ignore[arg-type]  # of as many types as `issue` takes


AIA = (
    x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(
                AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://ca.example/i.crt")
            )
        ]
    ),
    False,
)
ROOT = issue("root", now=NOW, ca=True, to_days=3000)
INTER = issue("inter", ROOT, now=NOW, ca=True, path_length=0, to_days=1000)
LEAF = leaf(INTER, extensions=[AIA])
OTHER = issue("other", now=NOW, ca=True)
FULL = LEAF.pem + INTER.pem
KEY_PEM = LEAF.key_pem
P12 = pkcs12.serialize_key_and_certificates(
    b"x",
    LEAF.key,  # type: ignore[arg-type]  # no key of a test is for key agreement
    LEAF.certificate,
    [INTER.certificate],
    BestAvailableEncryption(SECRET.encode()),
)
OPEN_P12 = pkcs12.serialize_key_and_certificates(
    b"x",
    LEAF.key,  # type: ignore[arg-type]  # as above
    LEAF.certificate,
    [INTER.certificate],
    NoEncryption(),
)
P7 = pkcs7.serialize_certificates([INTER.certificate, LEAF.certificate], Encoding.DER)
P7_PEM = pkcs7.serialize_certificates([INTER.certificate, LEAF.certificate], Encoding.PEM)
LOCKED = LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(SECRET.encode()))
LOCKED_OLD = LEAF.key.private_bytes(
    Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(SECRET.encode())
)
LOCKED_DER = LEAF.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(SECRET.encode()))
SEC1 = LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
KEY_DER = LEAF.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def read(
    certificate: bytes,
    key: bytes | None = KEY_PEM,
    chain_file: bytes | None = None,
    password: str | None = None,
    names: Sequence[str] = (NAME,),
    **more: Any,
) -> ServerCertificate | list[tuple[str, str]]:
    return server_certificate(certificate, key, chain_file, password=password, served=names, now=NOW, **more)


@pytest.mark.parametrize(
    ("certificate", "key", "chain_file", "password"),
    [
        (FULL, KEY_PEM, None, None),
        (LEAF.pem, KEY_PEM, INTER.pem, None),
        (INTER.pem + LEAF.pem, KEY_PEM, None, None),
        (ROOT.pem + INTER.pem + LEAF.pem + INTER.pem + LEAF.pem, KEY_PEM, ROOT.pem, None),
        (b"\xef\xbb\xbf" + FULL, KEY_PEM, None, None),
        (FULL.replace(b"\n", b"\r\n"), KEY_PEM.replace(b"\n", b"\r\n"), None, None),
        (FULL.replace(b"\n", b"\r"), KEY_PEM.replace(b"\n", b"\r"), None, None),
        (LEAF.pem.rstrip() + INTER.pem.rstrip() + b"garbage", KEY_PEM.rstrip() + b"\0\0", None, None),
        ("Bag Attributes\n  friendlyName: Réunion\n".encode("latin-1") + FULL, KEY_PEM, None, None),
        (FULL.decode().encode("utf-16"), KEY_PEM.decode().encode("utf-16"), None, None),
        (FULL.replace(b" CERTIFICATE", b" X509 CERTIFICATE"), KEY_PEM, None, None),
        (LEAF.der, KEY_DER, INTER.der, None),
        (LEAF.der + INTER.der, KEY_DER + b"\n", None, None),
        (P7, KEY_PEM, None, None),
        (P7_PEM, KEY_PEM, None, None),
        (LEAF.pem, KEY_PEM, P7, None),
        (P12, None, None, SECRET),
        (P12, P12, None, SECRET),
        (OPEN_P12, None, None, None),
        (OPEN_P12, None, None, ""),
        (FULL, LOCKED, None, SECRET),
        (FULL, LOCKED_OLD, None, SECRET),
        (FULL, LOCKED_OLD.replace(b"\n", b"\r\n"), None, SECRET),
        (FULL, LOCKED_DER, None, SECRET),
        (FULL, SEC1, None, None),
        (FULL, SEC1, None, SECRET),
        (FULL, b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + SEC1, None, None),
        (FULL, SEC1.replace(b"KEY-----\n", b"KEY-----\n\n", 1), None, None),
    ],
)
def test_any_form_is_taken_and_written_anew(
    certificate: bytes, key: bytes | None, chain_file: bytes | None, password: str | None
) -> None:
    found = read(certificate, key, chain_file, password, [NAME, "192.0.2.7", "[2001:db8::7]"])
    assert isinstance(found, ServerCertificate), found
    assert (found.chain.encode(), found.key.encode()) == (FULL, KEY_PEM)
    assert x509.load_pem_x509_certificates(found.chain.encode()) == [LEAF.certificate, INTER.certificate]
    assert (found.names, found.warnings) == ((NAME, "192.0.2.7", "2001:db8::7"), ())
    assert found.expiry == NOW + timedelta(days=90)
    assert "PRIVATE" not in repr(found)


def swapped_oid(of: Issued, digest: bytes) -> bytes:
    """Return it with sha256WithRSAEncryption said to be another algorithm of PKCS #1: nobody makes these any more."""
    return of.der.replace(bytes.fromhex("06092a864886f70d01010b"), bytes.fromhex("06092a864886f70d0101") + digest)


RSA = issue("rsa", now=NOW, kind="rsa2048", sans=[NAME])
SHORT = issue("short", now=NOW, kind="rsa1024", sans=[NAME])
CN = issue(NAME, ROOT, now=NOW)
CN_IP = issue("192.0.2.7", ROOT, now=NOW, sans=["b.example"])
SERIAL = issue("serial", ROOT, now=NOW, sans=[NAME], serial=0x0101010101)
NEGATIVE = SERIAL.der.replace(bytes.fromhex("02050101010101"), bytes.fromhex("02058001010101"))
RENAMED = issue("inter", now=NOW, ca=True, identifier="another")
NO_SIGN = issue("no sign", ROOT, now=NOW, ca=True, extensions=[usages()])
LATE = issue("late", ROOT, now=NOW, ca=True, from_days=-9, to_days=-2)
PATH_0 = issue("path 0", ROOT, now=NOW, ca=True, path_length=0)
BELOW = issue("below", PATH_0, now=NOW, ca=True)
LIMITED = issue(
    "limited", ROOT, now=NOW, ca=True, extensions=[(x509.NameConstraints([x509.DNSName("corp.example")], None), True)]
)
EKU = [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)]
UNKNOWN = [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\0"), True)]
DIFFERENT = "the key of another certificate"
SIGNER_MISSING = (
    "the certificate of its issuer CN=inter is missing, to be had at http://ca.example/i.crt; "
    "add it, also where it is the root"
)
RULE = "RSA of 2048 bits or more, P-256 or P-384"


DSA = leaf(ROOT, kind="dsa")
OPENSSH = LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
IN_OTHER_BYTES = x509.load_der_x509_certificate(
    INTER.der.replace(b"\x0c\x05inter", b"\x13\x05inter")
)  # PrintableString
WEAK = {kind: issue(kind, ROOT, now=NOW, ca=True, kind=kind) for kind in ("rsa1024", "dsa", "ed25519", "secp224r1")}
RSA_ROOT = issue("rsa root", now=NOW, ca=True, kind="rsa2048")
OLD = issue("old", RSA_ROOT, now=NOW, ca=True)
OLD_PEM = x509.load_der_x509_certificate(swapped_oid(OLD, b"\x05")).public_bytes(Encoding.PEM)


def one(of: Issued, chain_file: bytes | None = None) -> tuple[bytes, bytes, bytes | None]:
    return of.pem, of.key_pem, chain_file


@pytest.mark.parametrize(
    ("files", "wrong"),
    [
        ((b"", KEY_PEM), [(CERTIFICATE, "no certificate and no key in it, but: nothing")]),
        ((b"<html>", KEY_PEM), [(CERTIFICATE, "no certificate and no key in it, but: a web page")]),
        (
            (b"\xfe\xed\xfe\xed", KEY_PEM),
            [(CERTIFICATE, "no certificate and no key in it, but: a Java keystore; convert it to PKCS #12")],
        ),
        ((LEAF.pem[:200], KEY_PEM), [(CERTIFICATE, "no certificate and no key in it, but: a block that never ends")]),
        (
            (b"".join(LEAF.pem.splitlines()[1:-1]), KEY_PEM),
            [(CERTIFICATE, "no certificate and no key in it, but: base64 without the lines BEGIN and END around it")],
        ),
        ((LEAF.der[:-9], KEY_PEM), [(CERTIFICATE, "a file that is cut off")]),
        ((KEY_PEM, LEAF.pem), [(CERTIFICATE, "no certificate in it, but: private key")]),
        ((FULL + KEY_PEM, KEY_PEM), [(CERTIFICATE, "a private key in it, which belongs in a file of its own")]),
        ((FULL + LOCKED, KEY_PEM), [(CERTIFICATE, "a private key in it, which belongs in a file of its own")]),
        ((FULL, None), [(KEY, "none is given, and the certificate's file has none in it")]),
        ((FULL, b""), [(KEY, "no certificate and no key in it, but: nothing")]),
        ((FULL, FULL), [(KEY, "no private key in it, but: certificate")]),
        ((FULL, ROOT.key_pem), [(KEY, DIFFERENT)]),
        ((FULL, KEY_PEM + KEY_PEM), [(KEY, "several private keys in it")]),
        ((FULL, LOCKED), [(KEY, "a private key with a passphrase, which nobody is there to type")]),
        ((FULL, LOCKED_DER), [(KEY, "a private key with a passphrase, which nobody is there to type")]),
        ((FULL, LOCKED, None, "wrong"), [(KEY, "wrong password")]),
        ((FULL, LOCKED_DER, None, "wrong"), [(KEY, "wrong password")]),
        ((P12, None), [(CERTIFICATE, "no password is given, and it has one")]),
        ((P12, None, None, "wrong"), [(CERTIFICATE, "wrong password, or damaged")]),
        ((OPEN_P12, None, None, SECRET), [(CERTIFICATE, "wrong password: it has none")]),
        ((LEAF.pem, KEY_PEM), [(CHAIN, SIGNER_MISSING)]),
        ((LEAF.pem + ROOT.pem, KEY_PEM), [(CHAIN, SIGNER_MISSING)]),
        (
            (LEAF.pem, KEY_PEM, RENAMED.pem),
            [
                (
                    CHAIN,
                    "the certificate of its issuer CN=inter is there with another key than the one it was signed with; "
                    "the right one is missing, to be had at http://ca.example/i.crt; add it, also where it is the root",
                )
            ],
        ),
        (
            (FULL, KEY_PEM, RSA.pem),
            [(CHAIN, "a certificate of no CA in it, where only those over the server's belong: CN=rsa")],
        ),
        (
            (FULL, KEY_PEM, ROOT.pem + ROOT.key_pem),
            [(CHAIN, "a private key in it, which belongs in a file of its own")],
        ),
        (one(ROOT), [(CERTIFICATE, "a CA certificate (CN=root), and a server's is needed")]),
        (one(leaf(ROOT, to_days=-0.5)), [(CERTIFICATE, "expired on 2026-06-01")]),
        (
            one(leaf(ROOT, from_days=2 / 24)),
            [(CERTIFICATE, "not valid before 2026-06-01 14:00 UTC, and the clock says 2026-06-01 12:00 UTC")],
        ),
        (
            (swapped_oid(RSA, b"\x05"), RSA.key_pem),
            [(CERTIFICATE, "signed with SHA-1, which clients refuse: SHA-256 or better")],
        ),
        (
            (swapped_oid(RSA, b"\x04"), RSA.key_pem),
            [(CERTIFICATE, "signed with MD5, which clients refuse: SHA-256 or better")],
        ),
        (one(SHORT), [(CERTIFICATE, "an RSA key of 1024 bits, which is too short: 2048 or more")]),
        (
            one(leaf(ROOT, kind="secp224r1")),
            [(CERTIFICATE, f"a key on the curve secp224r1, which browsers do not take: {RULE}")],
        ),
        (
            one(leaf(ROOT, kind="secp256k1")),
            [(CERTIFICATE, f"a key on the curve secp256k1, which browsers do not take: {RULE}")],
        ),
        (
            one(leaf(ROOT, kind="secp521r1")),
            [(CERTIFICATE, f"a key on the curve P-521, which Chrome and Edge do not take: {RULE}")],
        ),
        (one(leaf(ROOT, kind="ed25519")), [(CERTIFICATE, f"an Ed25519 key, which no browser takes: {RULE}")]),
        (
            one(leaf(ROOT, extensions=EKU)),
            [(CERTIFICATE, "a certificate for something else than servers (its extended key usage has no serverAuth)")],
        ),
        (
            one(leaf(ROOT, extensions=[usages(digital=False, sign=True)])),
            [(CERTIFICATE, "a certificate that may not sign a handshake (its key usage has no digitalSignature)")],
        ),
        (one(leaf(ROOT, extensions=UNKNOWN)), [(CERTIFICATE, "a critical extension nobody knows (1.2.3.4)")]),
        ((NEGATIVE, SERIAL.key_pem), [(CERTIFICATE, "a negative serial number")]),
        (one(CN), [(CERTIFICATE, f"not for {NAME}: it stands only as the common name, which clients do not look at")]),
        (one(leaf(ROOT, "b.example")), [(CERTIFICATE, f"not for {NAME}, but: b.example")]),
        (one(leaf(ROOT, f"{NAME} ")), [(CERTIFICATE, f"not for {NAME}: it stands there with a blank")]),
        (one(leaf(ROOT, f"{NAME}.")), [(CERTIFICATE, f"not for {NAME}: it stands there with a dot at the end")]),
        (
            one(leaf(ROOT, "*.com")),
            [
                (
                    CERTIFICATE,
                    f"not for {NAME}: *.com stands for one whole label, the leftmost, under a name of two labels "
                    "or more",
                )
            ],
        ),
        (one(leaf(LATE), LATE.pem), [(CHAIN, "CN=late: expired on 2026-05-30")]),
        (
            one(leaf(NO_SIGN), NO_SIGN.pem),
            [(CHAIN, "CN=no sign: a CA certificate that may not sign others (its key usage has no keyCertSign)")],
        ),
        (
            one(leaf(BELOW), BELOW.pem + PATH_0.pem),
            [(CHAIN, "CN=path 0: its path length allows 0 authorities below it, and there is a need for 1")],
        ),
        (
            one(leaf(LIMITED, NAME), LIMITED.pem),
            [(CHAIN, f"CN=limited may not sign for {NAME}: its name constraints permit corp.example")],
        ),
        ((FULL, OPENSSH), [(KEY, "a private key in the form of OpenSSH, which nothing reads for TLS")]),
        (one(DSA), [(CERTIFICATE, f"a key of a kind TLS does not use: {RULE}")]),
        (
            (LEAF.pem, KEY_PEM, IN_OTHER_BYTES.public_bytes(Encoding.PEM)),
            [
                (
                    CHAIN,
                    "the certificate of its issuer CN=inter is there with its name in other bytes, which clients do "
                    "not take for it; add it, also where it is the root",
                )
            ],
        ),
        (one(leaf(OLD), OLD_PEM), [(CHAIN, "CN=old: signed with SHA-1, which clients refuse: SHA-256 or better")]),
        (
            one(leaf(WEAK["rsa1024"]), WEAK["rsa1024"].pem),
            [(CHAIN, "CN=rsa1024: an RSA key of 1024 bits, which is too short: 2048 or more")],
        ),
        (
            one(leaf(WEAK["secp224r1"]), WEAK["secp224r1"].pem),
            [(CHAIN, f"CN=secp224r1: a key on the curve secp224r1, which browsers do not take: {RULE}")],
        ),
        (
            one(leaf(WEAK["dsa"]), WEAK["dsa"].pem),
            [(CHAIN, f"CN=dsa: a key of a kind TLS does not use: {RULE}")],
        ),
        (
            one(leaf(WEAK["ed25519"]), WEAK["ed25519"].pem),
            [(CHAIN, f"CN=ed25519: an Ed25519 key, which no browser takes: {RULE}")],
        ),
        ((b"0", KEY_PEM), [(CERTIFICATE, "a file that is cut off")]),
        (
            (b"-----BEGIN PKCS7-----\n!!!!\n-----END PKCS7-----", KEY_PEM),
            [(CERTIFICATE, "a block PKCS7 that cannot be read")],
        ),
        (
            (leaf(ROOT, "b.example", to_days=-0.5).pem, ROOT.key_pem),
            [
                (KEY, DIFFERENT),
                (CERTIFICATE, "expired on 2026-06-01"),
                (CERTIFICATE, f"not for {NAME}, but: b.example"),
            ],
        ),
    ],
)
def test_each_defect_is_told_in_one_line(files: tuple[bytes, bytes], wrong: list[tuple[str, str]]) -> None:
    found = read(*files)
    assert found == wrong
    for _, reason in wrong:
        assert "\n" not in reason
        assert "MII" not in reason
        assert SECRET not in reason


@pytest.mark.parametrize(
    ("sans", "name", "said"),
    [
        (["192.0.2.7"], "192.0.2.7", "it stands there as a DNS name, and clients look for an IP address"),
        (["*.0.2.7"], "192.0.2.7", "*.0.2.7 stands for one whole label"),
        (["*.example.com"], "example.com", "*.example.com stands for one whole label"),
        (["*.example.com"], "x.y.example.com", "*.example.com stands for one whole label"),
        (["f*.example.com"], "foo.example.com", "f*.example.com stands for one whole label"),
        (["ip:192.0.2.8"], "192.0.2.7", "192.0.2.8"),
    ],
)
def test_a_name_not_covered_says_why(sans: list[str], name: str, said: str) -> None:
    of = leaf(ROOT, *sans)
    found = read(of.pem, of.key_pem, names=[name])
    assert isinstance(found, list)
    assert said in found[0][1]


def test_relays_for_programs_take_keys_browsers_do_not() -> None:
    for kind in ("ed25519", "secp521r1", "secp384r1"):
        of = leaf(ROOT, kind=kind)
        assert isinstance(read(of.pem, of.key_pem, for_browsers=False), ServerCertificate), kind
    of = leaf(WEAK["ed25519"])
    assert isinstance(read(of.pem, of.key_pem, WEAK["ed25519"].pem, for_browsers=False), ServerCertificate)


def test_constraints_nobody_here_judges_are_told() -> None:
    limit = x509.NameConstraints(None, [x509.RFC822Name("corp.example")])
    over = issue("limited", ROOT, now=NOW, ca=True, extensions=[(limit, True)])
    of = leaf(over)
    found = read(of.pem, of.key_pem, over.pem)
    assert isinstance(found, ServerCertificate), found
    assert found.warnings == ("CN=limited has name constraints of other kinds than DNS names and addresses",)


def test_what_works_today_and_not_for_ever_is_a_warning() -> None:
    of = leaf(INTER, to_days=20, from_days=-500)
    found = read(of.pem, of.key_pem, INTER.pem + OTHER.pem + ROOT.pem)
    assert isinstance(found, ServerCertificate)
    assert found.warnings == (
        "it ends within 30 days, on 2026-06-21",
        "it is valid for 520 days; browsers take 398 at most from public authorities",
        "left out, no part of its chain: CN=other",
    )
    alone = leaf(ROOT)
    found = read(alone.pem, alone.key_pem)
    assert isinstance(found, ServerCertificate)
    assert found.warnings == ("no intermediate comes with it: whoever calls has to trust CN=root itself",)


def test_the_end_of_an_authority_over_it_is_its_end() -> None:
    short = issue("short lived", ROOT, now=NOW, ca=True, to_days=20)
    of = leaf(short)
    found = read(of.pem, of.key_pem, short.pem)
    assert isinstance(found, ServerCertificate)
    assert found.expiry == NOW + timedelta(days=20)
    assert "CN=short lived over it ends within 30 days" in found.warnings[0]


def test_wildcards_stand_for_one_label() -> None:
    random = Random(20)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789-"
    for _ in range(500):
        labels = ["x" + "".join(random.choices(letters, k=random.randint(0, 9))) for _ in range(random.randint(3, 6))]
        name, parent = ".".join(labels), ".".join(labels[1:])
        assert matches(name.upper(), name)
        assert matches(f"*.{parent}", name)
        assert matches(f"*.{parent}", f"{name}.")
        assert not matches(f"*.{parent}", parent)
        assert not matches(f"*.{parent}", f"y.{name}")
        assert not matches(f"x*.{parent}", name)
        assert not matches(f"{labels[0]}.*.{'.'.join(labels[2:])}", name)
        assert not matches("*", name)
        assert not forbidden(ROOT.certificate, name)


def test_any_order_makes_one_chain() -> None:
    random = Random(7)
    parts = [LEAF.certificate, INTER.certificate, ROOT.certificate, OTHER.certificate]
    for _ in range(20):
        random.shuffle(parts)
        found = chain(LEAF.certificate, parts, NOW)
        assert (found.above, found.root) == ((INTER.certificate,), ROOT.certificate)
        assert found.left_over == (OTHER.certificate,)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command here")
def test_openssl_reads_back_and_verifies_what_is_written(tmp_path: Path) -> None:
    found = read(b"\xef\xbb\xbf" + INTER.pem.rstrip() + LEAF.pem, SEC1)
    assert isinstance(found, ServerCertificate)
    for name, text in (("chain", found.chain), ("key", found.key), ("root", ROOT.pem.decode())):
        (tmp_path / name).write_text(text, encoding="ascii")

    def openssl(*words: str) -> str:
        done = subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout

    assert f"serial={found.serial}\n" == openssl("x509", "-in", "chain", "-noout", "-serial")
    assert found.fingerprint in openssl("x509", "-in", "chain", "-noout", "-fingerprint", "-sha256")
    assert openssl("pkey", "-in", "key", "-pubout") == openssl("x509", "-in", "chain", "-noout", "-pubkey")
    moment = str(int(NOW.timestamp()))
    assert "OK" in openssl("verify", "-attime", moment, "-CAfile", "root", "-untrusted", "chain", "chain")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command here")
def test_a_trusted_certificate_and_explicit_curve_parameters_of_openssl(tmp_path: Path) -> None:
    (tmp_path / "leaf").write_bytes(LEAF.pem)
    trusted = subprocess.run(
        ["openssl", "x509", "-in", "leaf", "-trustout", "-addtrust", "serverAuth"],
        cwd=tmp_path, check=True, capture_output=True,
    ).stdout  # fmt: skip
    assert b"TRUSTED" in trusted
    assert pem.certificates(trusted) == [LEAF.certificate]
    explicit = subprocess.run(
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-param_enc", "explicit"],
        check=True, capture_output=True,
    ).stdout  # fmt: skip
    assert read(FULL, explicit) == [(KEY, "an EC key with explicit curve parameters; write it with the curve's name")]
