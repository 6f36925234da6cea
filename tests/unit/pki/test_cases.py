"""What went wrong for others with certificates they brought, each case by its row in the table of them."""

import shutil
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from pki import container, pem
from pki.client import CERTIFICATE, KEY, ClientCredentials, client_credentials
from pki.server import CHAIN, ServerCertificate, server_certificate
from pki.trust import Authorities, Source, authorities
from testing.certificates import Issued, issue, with_serial

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NAME = "a.example"
AIA = x509.AuthorityInformationAccess(
    [
        x509.AccessDescription(
            AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://ca.example/i.crt")
        )
    ]
)
ROOT = issue("root", now=NOW, ca=True)
INTER = issue("inter", ROOT, now=NOW, ca=True)
LEAF = issue("leaf", INTER, now=NOW, sans=[NAME], extensions=[(AIA, False)])
FULL = LEAF.pem + INTER.pem
ATTRIBUTES = "Bag Attributes\n    friendlyName: Réunion CA\n"


def served(certificate: bytes, key: bytes | None, *names: str, **more: object) -> str | list[tuple[str, str]]:
    found = server_certificate(
        certificate,
        key,
        served=names or (NAME,),
        now=NOW,
        **more,  # type: ignore[arg-type]  # of as many types as it takes
    )
    return found.chain if isinstance(found, ServerCertificate) else found


def trusted(*files: bytes) -> Authorities | list[tuple[str, str]]:
    return authorities([Source(name=f"file{number}", data=data) for number, data in enumerate(files, 1)], NOW)


def bundle(*files: bytes) -> str:
    found = trusted(*files)
    assert isinstance(found, Authorities), found
    return found.bundle


@pytest.fixture
def openssl(tmp_path: Path) -> "OpenSsl":
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command here")
    for name, of in (("root", ROOT), ("inter", INTER), ("leaf", LEAF)):
        (tmp_path / f"{name}.pem").write_bytes(of.pem)
        (tmp_path / f"{name}.key").write_bytes(of.key_pem)
    return OpenSsl(tmp_path)


class OpenSsl:
    """The command, in a folder with root, inter and leaf, each `.pem` and `.key`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: str) -> bytes:
        return subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True).stdout


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a01_bag_attributes_of_any_bytes(encoding: str) -> None:
    def with_attributes(pem: bytes) -> bytes:
        return ATTRIBUTES.encode(encoding) + pem

    assert bundle(with_attributes(ROOT.pem)).encode() == ROOT.pem
    assert served(with_attributes(LEAF.pem) + with_attributes(INTER.pem), with_attributes(LEAF.key_pem)) == (
        FULL.decode()
    )
    found = client_credentials(*map(with_attributes, (ROOT.pem, LEAF.pem, LEAF.key_pem)))
    assert isinstance(found, ClientCredentials)
    assert found.texts() == (ROOT.pem.decode(), LEAF.pem.decode(), LEAF.key_pem.decode())


def test_a04_end_and_begin_on_one_line() -> None:
    glued = LEAF.pem.rstrip() + INTER.pem
    assert b"-----END CERTIFICATE----------BEGIN CERTIFICATE-----" in glued
    assert served(glued, LEAF.key_pem) == FULL.decode()
    assert bundle(ROOT.pem.rstrip() + INTER.pem).encode() == ROOT.pem + INTER.pem


@pytest.mark.parametrize(
    "words",
    [(), ("-nomac",), ("-nomac", "-keypbe", "NONE", "-certpbe", "NONE")],
    ids=["empty password", "no sum", "nothing encrypted"],
)
def test_a06_pkcs12_without_password(openssl: OpenSsl, words: tuple[str, ...]) -> None:
    data = openssl(
        *("pkcs12", "-export", "-in", "leaf.pem", "-inkey", "leaf.key", "-certfile", "inter.pem"),
        *(*words, "-passout", "pass:"),
    )
    for password in (None, ""):
        assert served(data, None, password=password) == FULL.decode()
    assert served(data, None, password="wrong") == [(CERTIFICATE, "wrong password: it has none")]


def test_a06_pkcs12_with_another_password(openssl: OpenSsl) -> None:
    data = openssl("pkcs12", "-export", "-in", "leaf.pem", "-inkey", "leaf.key", "-passout", "pass:right")
    assert served(data, None, password="wrong") == [(CERTIFICATE, "wrong password, or damaged")]


@pytest.mark.parametrize("form", ["DER", "PEM"])
def test_a08_pkcs7_in_which_the_order_is_lost(openssl: OpenSsl, form: str) -> None:
    words = ("crl2pkcs7", "-nocrl", "-outform", form)
    chain = openssl(*words, "-certfile", "leaf.pem", "-certfile", "inter.pem")
    assert served(chain, LEAF.key_pem) == FULL.decode()
    assert served(LEAF.pem, LEAF.key_pem, chain_file=openssl(*words, "-certfile", "inter.pem")) == FULL.decode()
    found = trusted(chain)
    assert isinstance(found, Authorities)
    assert found.bundle.encode() == INTER.pem
    assert [warning.partition(", ")[0] for warning in found.warnings] == ["file1: left out"]


def test_a10_a_missing_intermediate() -> None:
    said = (
        "the certificate of its issuer CN=inter is missing, to be had at http://ca.example/i.crt; "
        "add it, also where it is the root"
    )
    assert served(LEAF.pem + ROOT.pem, LEAF.key_pem) == [(CHAIN, said)]
    assert served(LEAF.pem + ROOT.pem + INTER.pem, LEAF.key_pem) == FULL.decode()


def test_a12_two_roots_of_one_name() -> None:
    """Those of ours tell themselves apart by their identifiers: tests/e2e/test_deployment.py."""
    twin = issue("root", now=NOW, ca=True, identifier="twin")
    found = trusted(ROOT.pem, twin.pem)
    assert isinstance(found, Authorities)
    (warning,) = found.warnings
    assert warning.startswith("two authorities of one name with different keys: CN=root, ")
    assert all(fingerprint in warning for fingerprint in found.fingerprints)


def test_a14_curve_parameters_before_the_key(openssl: OpenSsl) -> None:
    plain = openssl("ecparam", "-name", "prime256v1", "-genkey")
    assert plain.startswith(b"-----BEGIN EC PARAMETERS-----")
    (openssl.folder / "made.key").write_bytes(plain)
    for data in (plain, plain.replace(b"KEY-----\n", b"KEY-----\n\n", 1)):
        written = pem.private_key_text(container.key(data))
        assert written.encode() == openssl("pkcs8", "-topk8", "-nocrypt", "-in", "made.key")
    explicit = openssl("ecparam", "-name", "prime256v1", "-genkey", "-param_enc", "explicit")
    assert served(FULL, explicit) == [(KEY, "an EC key with explicit curve parameters; write it with the curve's name")]


def test_a16_what_does_not_fit_together() -> None:
    """The same of docker_certificates: tests/unit/settings/test_values.py."""
    late = issue("late", ROOT, now=NOW, sans=[NAME], from_days=-60, to_days=-30)
    assert served(FULL, ROOT.key_pem) == [(KEY, "the key of another certificate")]
    assert served(LEAF.key_pem, FULL) == [(CERTIFICATE, "no certificate in it, but: private key")]
    assert served(b"", LEAF.key_pem) == [(CERTIFICATE, "no certificate and no key in it, but: nothing")]
    assert served(late.pem, late.key_pem) == [(CERTIFICATE, "expired on 2026-05-02")]


@pytest.mark.parametrize(
    ("sans", "name", "reason"),
    [
        (["192.0.2.7"], "192.0.2.7", "it stands there as a DNS name, and clients look for an IP address"),
        (None, NAME, "it stands only as the common name, which clients do not look at"),
        ([f"{NAME} "], NAME, "it stands there with a blank"),
    ],
)
def test_a18_a_name_where_no_client_looks(sans: list[str] | None, name: str, reason: str) -> None:
    of = issue(name, ROOT, now=NOW, sans=sans)
    assert served(of.pem, of.key_pem, name) == [(CERTIFICATE, f"not for {name}: {reason}")]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("serial", "reason"),
    [
        (b"\x80\x01", "a negative serial number"),
        (b"\x00", "the serial number 0"),
        (b"\x7f" * 21, "a serial number of more than 20 bytes"),
        (b"\x00" + b"\xff" * 20, "a serial number of more than 20 bytes"),
    ],
    ids=["negative", "zero", "21 bytes", "20 bytes and a sign"],
)
def test_a20_a_serial_number_clients_refuse(serial: bytes, reason: str) -> None:
    assert trusted(ROOT.pem, INTER.der + with_serial(ROOT, serial)) == [("file2", f"number 2 in it has {reason}")]
    assert bundle(ROOT.pem, with_serial(ROOT, b"\x7f" * 20)).count("BEGIN") == 2


@pytest.mark.parametrize(
    ("ahead", "start", "clock"),
    [
        (timedelta(hours=2), "2026-06-01 14:00 UTC", "2026-06-01 12:00 UTC"),
        (timedelta(seconds=30), "2026-06-01 12:00:30 UTC", "2026-06-01 12:00:00 UTC"),
    ],
)
def test_a22_a_certificate_from_the_future(ahead: timedelta, start: str, clock: str) -> None:
    of = issue("early", ROOT, now=NOW, sans=[NAME], from_days=ahead / timedelta(days=1))
    assert served(of.pem, of.key_pem) == [(CERTIFICATE, f"not valid before {start}, and the clock says {clock}")]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("secp521r1", "a key on the curve P-521, which Chrome and Edge do not take: "),
        ("ed25519", "an Ed25519 key, which no browser takes: "),
        ("secp256r1", ""),
        ("secp384r1", ""),
        ("rsa2048", ""),
        ("rsa4096", ""),
    ],
)
def test_a24_keys_browsers_do_not_take(kind: str, reason: str) -> None:
    of = issue("of a kind", ROOT, now=NOW, sans=[NAME], kind=kind)
    found = served(of.pem, of.key_pem)
    if reason:
        assert found == [(CERTIFICATE, f"{reason}RSA of 2048 bits or more, P-256 or P-384")]
    else:
        assert found == of.pem.decode()
    assert served(of.pem, of.key_pem, for_browsers=False) == of.pem.decode(), "programs take it"


# --- What is written, by those who read it ----------------------------------------------------------------------------

IDENTIFIED_ROOT, IDENTIFIED_INTER = "identified root", "identified inter"


def strict(name: str, by: Issued | None, *, ca: bool, sans: list[str] | None = None) -> Issued:
    """Return a certificate with all that RFC 5280 asks for."""
    key_usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
    bare = issue(name, by, now=NOW, ca=ca, sans=sans)
    identifier = x509.SubjectKeyIdentifier.from_public_key(bare.certificate.public_key())
    over = by.certificate if by else bare.certificate
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(
        over.public_key()  # type: ignore[arg-type]  # no key of a test is for key agreement
    )
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (key_usage, True), (identifier, False), (authority, False),
    ]  # fmt: skip
    return issue(name, by, now=NOW, ca=ca, sans=sans, extensions=extensions)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A folder with `chain`, `key` and `bundle`, all read from files in disorder and written anew."""
    root = strict(IDENTIFIED_ROOT, None, ca=True)
    inter = strict(IDENTIFIED_INTER, root, ca=True)
    leaf = strict("strict", inter, ca=False, sans=[NAME, "*.a.example", "ip:2001:db8::7"])
    disorder = b"\xef\xbb\xbf" + inter.pem.rstrip() + ATTRIBUTES.encode("latin-1") + leaf.pem.replace(b"\n", b"\r\n")
    found = server_certificate(disorder, leaf.key_pem, served=[NAME], now=NOW)
    assert isinstance(found, ServerCertificate), found
    (tmp_path / "chain").write_text(found.chain, encoding="ascii")
    (tmp_path / "key").write_text(found.key, encoding="ascii")
    (tmp_path / "bundle").write_text(bundle(b"\xef\xbb\xbf" + root.pem.rstrip() + ROOT.pem), encoding="ascii")
    return tmp_path


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command here")
def test_openssl_verifies_it_in_its_strictest_way(written: Path) -> None:
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-attime", str(int(NOW.timestamp())), "-purpose", "sslserver",
         "-verify_hostname", "x.a.example", "-CAfile", "bundle", "-untrusted", "chain", "chain"],
        cwd=written, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "chain: OK\n"), done.stderr


def test_python_reads_as_many_as_were_written(written: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(written / "chain", written / "key")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(written / "bundle")
    assert client.cert_store_stats()["x509_ca"] == 2


_NODE = """
const text = require('fs').readFileSync(0, 'latin1')
const blocks = text.match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----\\n/g)
console.log(blocks.map((one) => new (require('crypto').X509Certificate)(one).subject).join())
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node here")
def test_node_reads_as_many_as_were_written(written: Path) -> None:
    for name, subjects in (("chain", f"CN=strict,CN={IDENTIFIED_INTER}"), ("bundle", f"CN={IDENTIFIED_ROOT},CN=root")):
        done = subprocess.run(
            ["node", "-e", _NODE], input=(written / name).read_bytes(), check=True, capture_output=True
        )
        assert done.stdout.decode().strip() == subjects
