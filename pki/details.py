"""What an inventory tells of a certificate."""

from typing import TypedDict

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pki import facts, pem
from pki.moments import rfc3339


class Details(TypedDict):
    """Of one certificate; none of it is secret."""

    key: str
    """Such as P-256 or RSA-2048."""
    serial: str
    """Hexadecimal."""
    sha256: str
    """Fingerprint, hexadecimal with colons."""
    not_before: str
    """RFC 3339 time."""


class ListDetails(TypedDict):
    """Of one revocation list."""

    number: int
    """Greater than that of each list before it."""
    this_update: str
    """RFC 3339 time."""
    revoked: list[str]
    """Serial numbers as `Details.serial` has them, in order."""


_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


def details(text: str) -> Details:
    """Return what is to be told of the first certificate in `text`, PEM.

    Raises: PemError.
    """
    one = pem.certificates(text.encode())[0]
    return Details(
        key=key_type(one),
        serial=facts.serial(one),
        sha256=facts.fingerprint(one),
        not_before=rfc3339(one.not_valid_before_utc),
    )


def list_details(text: str) -> ListDetails:
    """Return what is to be told of a revocation list (CRL), PEM."""
    one = x509.load_pem_x509_crl(text.encode())
    return ListDetails(
        number=one.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number,
        this_update=rfc3339(one.last_update_utc),
        revoked=[facts.hexadecimal(entry.serial_number) for entry in sorted(one, key=lambda each: each.serial_number)],
    )


def key_type(certificate: pem.Certificate) -> str:
    """Return what kind of key a certificate is of, as people call it."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA-{key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _CURVES.get(key.curve.name, key.curve.name)
    return type(key).__name__.removeprefix("_").removesuffix("PublicKey")
