"""Certificates for tests: small, quick, each with a key of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pki.pem import der_length

CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH
SIGNS_NO_LISTS = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=False,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)
"""An authority's that may sign certificates, and nothing of what it has revoked."""


def certificate(
    name: str,
    *,
    usages: Sequence[x509.ObjectIdentifier] = (),
    from_days: float = -1,
    to_days: float = 1,
    key_format: PrivateFormat = PrivateFormat.PKCS8,
) -> tuple[str, str]:
    """Return a certificate that signs itself, valid from and to so many days from now, and its key, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=from_days))
        .not_valid_after(now + timedelta(days=to_days))
    )
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return (
        builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode("ascii"),
        key.private_bytes(Encoding.PEM, key_format, NoEncryption()).decode("ascii"),
    )


@cache
def _rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def rsa_private_key(bits: int = 2048) -> str:
    """Return an RSA private key, PEM (PKCS #8)."""
    return _rsa_key(bits).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def rsa_public_key(bits: int = 2048) -> str:
    """Return the public half of `rsa_private_key`, PEM."""
    return _public(_rsa_key(bits).public_key())


@cache
def ec_public_key() -> str:
    """Return a public key that is no RSA key, PEM."""
    return _public(ec.generate_private_key(ec.SECP256R1()).public_key())


def _public(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def served(*names: str, addresses: Sequence[str] = ()) -> tuple[str, str, str]:
    """Return an authority, a certificate it has signed for a server, and the server's key, all PEM.

    The server has these names and `addresses`.
    """
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])
    now = datetime.now(UTC)

    def signed(subject: x509.Name, of: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType) -> str:
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority)
            .public_key(of.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        )
        return made.sign(authority_key, hashes.SHA256()).public_bytes(Encoding.PEM).decode("ascii")

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    alternatives: list[x509.GeneralName] = [*map(x509.DNSName, names)]
    alternatives += [x509.IPAddress(ip_address(one)) for one in addresses]
    return (
        signed(authority, authority_key, x509.BasicConstraints(ca=True, path_length=None)),
        signed(subject, key, x509.SubjectAlternativeName(alternatives)),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii"),
    )


def docker_client(folder: Path) -> tuple[str, str, str]:
    """Put ca.pem, cert.pem and key.pem of a client of Docker's into `folder`, and return them."""
    authority, _ = certificate("authority of a Docker host")
    chain, key = certificate("client", usages=[CLIENT])
    for name, content in (("ca", authority), ("cert", chain), ("key", key)):
        (folder / f"{name}.pem").write_text(content, encoding="ascii")
    return authority, chain, key


@cache
def key_of(kind: str, name: str = "") -> PrivateKeyTypes:
    """Return a key: `rsa2048`, `dsa`, `ed25519` or a curve's name; the same one each time for a name."""
    if kind.startswith("rsa"):
        return _rsa_key(int(kind.removeprefix("rsa")))
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "dsa":
        return dsa.generate_private_key(1024)
    curves = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1, ec.SECP224R1, ec.SECP256K1)
    return ec.generate_private_key(next(one for one in curves if one.name == kind)())


@dataclass(frozen=True, kw_only=True)
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: PrivateKeyTypes

    @property
    def pem(self) -> bytes:
        """PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        """DER."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def key_pem(self) -> bytes:
        """The key, PEM (PKCS #8)."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def issue(
    name: str,
    by: Issued | None = None,
    *,
    now: datetime,
    kind: str = "secp256r1",
    sans: Sequence[str] | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    from_days: float = -1,
    to_days: float = 90,
    ca: bool = False,
    path_length: int | None = None,
    serial: int | None = None,
    identifier: str = "",
    subject: x509.Name | None = None,
) -> Issued:
    """Return a certificate of `name`, or of `subject`, signed `by` another or itself, with no extension unasked."""
    key = key_of(kind, identifier or name)
    subject = subject or x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = by.key if by else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())  # type: ignore[arg-type]  # no key of a test is for key agreement
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(now + timedelta(days=from_days))
        .not_valid_after(now + timedelta(days=to_days))
    )
    if ca:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    if sans is not None:
        entries: list[x509.GeneralName] = []
        for one in sans:
            is_address = one.startswith("ip:")
            entries.append(x509.IPAddress(ip_address(one[3:])) if is_address else x509.DNSName(one))
        builder = builder.add_extension(x509.SubjectAlternativeName(entries), critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Issued(certificate=builder.sign(signer, algorithm), key=key)  # type: ignore[arg-type]  # as above


def with_serial(of: Issued, serial: bytes) -> bytes:
    """Return a certificate in DER with these bytes for its serial number, as no library would make it any more."""
    (whole,) = _elements(of.der)
    tbs, *rest = _elements(_content(whole))
    version, _, *others = _elements(_content(tbs))
    tbs = _element(0x30, b"".join([version, _element(0x02, serial), *others]))
    return _element(0x30, b"".join([tbs, *rest]))


def _elements(der: bytes) -> list[bytes]:
    found: list[bytes] = []
    while der:
        length = der_length(der)
        found.append(der[:length])
        der = der[length:]
    return found


def _content(element: bytes) -> bytes:
    return element[2 + (element[1] - 0x80 if element[1] > 0x80 else 0) :]


def _element(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 + len(size)]) + size + content
