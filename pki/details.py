"""What an inventory tells of a certificate."""

from typing import TypedDict

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


def key_type(certificate: pem.Certificate) -> str:
    """Return what kind of key a certificate is of, as people call it."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA-{key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _CURVES.get(key.curve.name, key.curve.name)
    return type(key).__name__.removeprefix("_").removesuffix("PublicKey")
