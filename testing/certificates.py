"""Certificates for tests: small, quick, each with a key of its own."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH


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


def docker_client(folder: Path) -> tuple[str, str, str]:
    """Put ca.pem, cert.pem and key.pem of a client of Docker's into `folder`, and return them."""
    authority, _ = certificate("authority of a Docker host")
    chain, key = certificate("client", usages=[CLIENT])
    for name, content in (("ca", authority), ("cert", chain), ("key", key)):
        (folder / f"{name}.pem").write_text(content, encoding="ascii")
    return authority, chain, key
