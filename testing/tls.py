"""What the TLS provider makes of what it is given, for the recording engine and for tests of what is made of that.

A key is one of its name, so two runs make the same; dates are always the same.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_address
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

STARTS: Final = datetime(2026, 1, 1, tzinfo=UTC)
LEAF_ENDS: Final = datetime(2026, 4, 1, tzinfo=UTC)
ROOT_ENDS: Final = datetime(2036, 1, 1, tzinfo=UTC)

_CURVES: Final = {"P256": ec.SECP256R1(), "P384": ec.SECP384R1()}
_PURPOSES: Final = {
    "server_auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client_auth": ExtendedKeyUsageOID.CLIENT_AUTH,
}
_USAGES: Final = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "cert_signing", "crl_signing", "encipher_only", "decipher_only",
)  # fmt: skip


def private_key(name: str, inputs: Mapping[str, Any]) -> str:
    """Return the key of a resource of this name (PEM, in the form the provider has it)."""
    algorithm = str(inputs["algorithm"])
    return _private_key(name, algorithm, str(inputs.get("ecdsaCurve", "P224")), int(inputs.get("rsaBits") or 2048))


@cache
def _private_key(name: str, algorithm: str, curve: str, bits: int) -> str:
    digest = hashlib.sha512(name.encode()).digest()
    match algorithm:
        case "ECDSA":
            ec_key = ec.derive_private_key(int.from_bytes(digest[:32], "big") >> 1, _CURVES[curve])
            return ec_key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
        case "ED25519":
            key = ed25519.Ed25519PrivateKey.from_private_bytes(digest[:32])
            return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        case "RSA":
            rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
            return rsa_key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
        case _:
            raise AssertionError(f"the provider has no keys of the kind {algorithm}")


def public_key(private: str) -> str:
    """Return the public half of a key, PEM both."""
    key = load_pem_private_key(private.encode(), None).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def self_signed(inputs: Mapping[str, Any]) -> str:
    """Return the certificate (PEM) of a SelfSignedCert."""
    key: Any = load_pem_private_key(str(inputs["privateKeyPem"]).encode(), None)
    subject = _name(inputs["subject"])
    builder = _builder(subject, subject, key.public_key(), ROOT_ENDS, inputs.get("allowedUses") or ())
    builder = builder.add_extension(
        x509.BasicConstraints(ca=bool(inputs.get("isCaCertificate")), path_length=None), critical=True
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    if inputs.get("setAuthorityKeyId"):
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
    return _signed(builder, key)


def request(inputs: Mapping[str, Any]) -> str:
    """Return the request (PEM) of a CertRequest."""
    key: Any = load_pem_private_key(str(inputs["privateKeyPem"]).encode(), None)
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(inputs.get("subject") or {}))
    names = [
        *(x509.DNSName(one) for one in inputs.get("dnsNames") or ()),
        *(x509.IPAddress(ip_address(one)) for one in inputs.get("ipAddresses") or ()),
        *(x509.UniformResourceIdentifier(one) for one in inputs.get("uris") or ()),
    ]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return _signed(builder, key)


def locally_signed(inputs: Mapping[str, Any], ends: datetime = LEAF_ENDS) -> str:
    """Return the certificate (PEM) of a LocallySignedCert."""
    asked = x509.load_pem_x509_csr(str(inputs["certRequestPem"]).encode())
    issuer = x509.load_pem_x509_certificate(str(inputs["caCertPem"]).encode())
    key: Any = load_pem_private_key(str(inputs["caPrivateKeyPem"]).encode(), None)
    builder = _builder(asked.subject, issuer.subject, asked.public_key(), ends, inputs.get("allowedUses") or ())
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    if inputs.get("setSubjectKeyId"):
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(asked.public_key()),
            critical=False,
        )
    for extension in asked.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    return _signed(builder, key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Any, ends: datetime, uses: Sequence[str]
) -> x509.CertificateBuilder:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(int.from_bytes(hashlib.sha256(subject.public_bytes()).digest()[:15], "big"))
        .not_valid_before(STARTS)
        .not_valid_after(ends)
    )
    allowed = [one in uses for one in _USAGES]
    if any(allowed):
        builder = builder.add_extension(x509.KeyUsage(*allowed), critical=True)
    if purposes := [oid for use, oid in _PURPOSES.items() if use in uses]:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return builder


def _name(subject: Mapping[str, Any]) -> x509.Name:
    kinds = {"organization": NameOID.ORGANIZATION_NAME, "commonName": NameOID.COMMON_NAME}
    return x509.Name([x509.NameAttribute(oid, subject[key]) for key, oid in kinds.items() if subject.get(key)])


def _signed(builder: x509.CertificateBuilder | x509.CertificateSigningRequestBuilder, key: Any) -> str:
    # One signature for one content: two runs make the same.
    deterministic = True if isinstance(key, ec.EllipticCurvePrivateKey) else None
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm, ecdsa_deterministic=deterministic).public_bytes(Encoding.PEM).decode()
