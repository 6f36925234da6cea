"""Certificates written anew after the TLS provider's, with what that lacks, and signed by the authority's key.

The provider has the clock, the keys and the schedule; its certificate is a template, which nobody is ever shown. What
is made of it depends on nothing but what is given, to the last byte of its signature (RFC 6979), so it can be made at
each run: no other bytes, no change. See docs/decisions/0021.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from pki import facts, names, pem
from pki.moments import rfc3339

BACKDATED: Final = timedelta(hours=1)
"""How far clocks may be behind; Let's Encrypt has the same."""
PATH_LENGTH: Final = 1
"""Of a root: one authority may stand between it and a leaf."""
NOWHERE: Final = "invalid"
"""A name nobody ever has (RFC 6761), to permit where no name is to be permitted: an empty list would permit all."""
_LOOPBACK_NAME: Final = "localhost"
_LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
_EVERY_ADDRESS: Final = ("0.0.0.0/0", "::/0")
_SERIAL_BYTES: Final = 16  # more than 64 bits, and fewer than 20 octets (RFC 5280, 4.1.2.2)

SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


class IssueError(ValueError):
    """Nothing can be signed, and why: one line."""


@dataclass(frozen=True, kw_only=True)
class Permitted:
    """What an authority may sign for (RFC 5280, 4.2.1.10); where neither kind is named, anything."""

    names: Sequence[str] = ()
    """DNS names, each with all below it."""
    addresses: Sequence[str] = ()
    """Networks, such as 10.0.0.0/8."""
    loopback: bool = False
    """Whether localhost and the addresses of this machine are permitted besides."""

    @property
    def is_anything(self) -> bool:
        """Whether nothing is forbidden."""
        return not self.names and not self.addresses

    def constraints(self) -> x509.NameConstraints | None:
        """Return the extension that says so.

        A kind that is not mentioned in it is not constrained at all, so both are.
        """
        if self.is_anything:
            return None
        dns = [*self.names, *([_LOOPBACK_NAME] if self.loopback else [])]
        networks = [*self.addresses, *(_LOOPBACK if self.loopback else ())]
        return x509.NameConstraints(
            permitted_subtrees=[
                *(x509.DNSName(one) for one in dict.fromkeys(dns or [NOWHERE])),
                *(x509.IPAddress(ipaddress.ip_network(one)) for one in dict.fromkeys(networks)),
            ],
            excluded_subtrees=None
            if networks
            else [x509.IPAddress(ipaddress.ip_network(one)) for one in _EVERY_ADDRESS],
        )

    def forbidden(self, name: str) -> str:
        """Return why a DNS name or an address may not be signed for, or nothing."""
        constraints = self.constraints()
        return "" if constraints is None else names.outside(constraints, name)


ANYTHING: Final = Permitted()
"""Nothing is forbidden."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """A certificate as it was written."""

    certificate_pem: str
    expires: str
    """RFC 3339 time."""
    serial: str
    """Hexadecimal, as `openssl x509 -serial` shows it."""


def leaf(template: str, issuer: str, issuer_key: str) -> Written:
    """Return a leaf (PEM) after a template that `issuer` has signed with `issuer_key` (PEM both).

    Key, subject, names and usage are the template's. It is valid from an hour before, ends with its issuer at the
    latest, and names that one in its very bytes.

    Raises: IssueError.
    """
    found, over = _certificate(template), _certificate(issuer)
    key = signing_key(issuer_key, over)
    start, end = found.not_valid_before_utc - BACKDATED, min(found.not_valid_after_utc, over.not_valid_after_utc)
    if found.not_valid_before_utc >= end:
        raise IssueError(f"the authority {facts.shown(over.subject)} ended on {over.not_valid_after_utc:%Y-%m-%d}")
    builder = (
        x509.CertificateBuilder()
        .subject_name(found.subject)
        .issuer_name(over.subject)
        .public_key(found.public_key())
        .not_valid_before(start)
        .not_valid_after(end)
    )
    for extension in found.extensions:
        if not isinstance(extension.value, x509.AuthorityKeyIdentifier):
            builder = builder.add_extension(extension.value, critical=extension.critical)
    made = signed(builder.add_extension(authority_key(over), critical=False), key)
    if issuer_name(made) != subject_name(over):
        raise IssueError(f"the name of the authority {facts.shown(over.subject)} cannot be written in its own bytes")
    return written(made)


def root(template: str, key: str, permitted: Permitted) -> Written:
    """Return a root (PEM) after a template that has signed itself with `key` (PEM).

    A template of a release before this was done has no authority key identifier. It is a root people already trust, so
    it is returned as it is.

    Raises: IssueError.
    """
    found = _certificate(template)
    private = signing_key(key, found)
    if facts.extension(found, x509.AuthorityKeyIdentifier) is None:
        if not permitted.is_anything:
            raise IssueError(f"the root {facts.shown(found.subject)} is there already, and permits anything")
        return Written(certificate_pem=template, expires=rfc3339(found.not_valid_after_utc), serial=facts.serial(found))
    identifier = x509.SubjectKeyIdentifier.from_public_key(found.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(found.subject)
        .issuer_name(found.subject)
        .public_key(found.public_key())
        .not_valid_before(found.not_valid_before_utc - BACKDATED)
        .not_valid_after(found.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=True, path_length=PATH_LENGTH), critical=True)
        .add_extension(SIGNS, critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    if constraints := permitted.constraints():
        builder = builder.add_extension(constraints, critical=True)
    return written(signed(builder, private))


def written(certificate: pem.Certificate) -> Written:
    """Return a certificate with what is told of it."""
    return Written(
        certificate_pem=pem.certificates_text([certificate]),
        expires=rfc3339(certificate.not_valid_after_utc),
        serial=facts.serial(certificate),
    )


def issuer_name(certificate: pem.Certificate) -> bytes:
    """Return the name of a certificate's issuer as it stands there (DER): clients compare bytes."""
    return _name(certificate, 3)


def subject_name(certificate: pem.Certificate) -> bytes:
    """Return the name of a certificate's subject as it stands there (DER)."""
    return _name(certificate, 5)


def hash_for(key: SigningKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None:
    """Return what a key signs a digest of: of the strength of the key, and None where it has one of its own."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return hashes.SHA256() if key.key_size <= 256 else hashes.SHA384() if key.key_size <= 384 else hashes.SHA512()
    return hashes.SHA256() if isinstance(key, rsa.RSAPrivateKey) else None


def deterministic(key: SigningKey) -> bool | None:
    """Return what the library has to be told for the same signature each time: for ECDSA only, others have no other."""
    return True if isinstance(key, ec.EllipticCurvePrivateKey) else None


SIGNS: Final = x509.KeyUsage(
    # Of an own signature under a certificate request or a challenge, besides those under certificates and lists.
    digital_signature=True,
    key_cert_sign=True,
    crl_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)
"""Key usage of an authority."""


def authority_key(issuer: pem.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return which key signed; not which certificate of it, so that a cross-signed one will do as well."""
    identifier = facts.extension(issuer, x509.SubjectKeyIdentifier)
    if identifier is not None:
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())  # type: ignore[arg-type]  # it signs


def signed(builder: x509.CertificateBuilder, key: SigningKey) -> pem.Certificate:
    """Return a certificate with a serial number made of all that is in it.

    So two that differ in anything never have the same: Firefox refuses a second one of an issuer.
    """
    unnumbered = _sign(builder.serial_number(1), key).tbs_certificate_bytes
    number = int.from_bytes(sha256(unnumbered).digest()[:_SERIAL_BYTES], "big")
    # Positive whatever comes first, and of a full length.
    number = number & ~(1 << (8 * _SERIAL_BYTES - 1)) | 1 << (8 * _SERIAL_BYTES - 2)
    return _sign(builder.serial_number(number), key)


def _sign(builder: x509.CertificateBuilder, key: SigningKey) -> pem.Certificate:
    return builder.sign(key, hash_for(key), ecdsa_deterministic=deterministic(key))


def _certificate(text: str) -> pem.Certificate:
    try:
        return pem.certificates(text.encode())[0]
    except pem.PemError as error:
        raise IssueError(f"a certificate that cannot be read: {error}") from None


def signing_key(text: str, certificate: pem.Certificate) -> SigningKey:
    """Return the key (PEM) of an authority's certificate.

    Raises: IssueError.
    """
    try:
        key = pem.private_key(text.encode())
    except pem.PemError as error:
        raise IssueError(f"the key of {facts.shown(certificate.subject)} cannot be read: {error}") from None
    if not isinstance(key, SigningKey) or not pem.belongs(key, certificate):
        raise IssueError(f"{facts.shown(certificate.subject)} has another key than the one it was to sign with")
    return key


def _name(certificate: pem.Certificate, place: int) -> bytes:
    # version, serial number, signature, issuer, validity, subject (RFC 5280, 4.1); version 1 has no version.
    rest = _content(certificate.tbs_certificate_bytes)
    if certificate.version == x509.Version.v1:
        place -= 1
    for _ in range(place):
        rest = rest[pem.der_length(rest) :]
    return rest[: pem.der_length(rest)]


def _content(der: bytes) -> bytes:
    return der[2 + (der[1] - 0x80 if der[1] > 0x80 else 0) :]
