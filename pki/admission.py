"""What a server compares a client's certificate with, once the authority behind it is known to be the right one."""

import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pki import pem


def fingerprint(certificate_pem: str) -> str:
    """Return the SHA-256 of the first certificate of a chain, in hexadecimal."""
    return hashlib.sha256(pem.der(pem.certificates(certificate_pem.encode())[0])).hexdigest()


def public_key(certificate_pem: str) -> str:
    """Return the SHA-256 of its public key, in hexadecimal, or nothing where Caddy has none for that kind.

    What is summed up is what Caddy takes (modules/caddyhttp/replacer.go, marshalPublicKey): the point of an elliptic
    curve, or an Ed25519 key. For RSA keys its placeholder is empty.
    """
    key = pem.certificates(certificate_pem.encode())[0].public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return hashlib.sha256(key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)).hexdigest()
    if isinstance(key, ed25519.Ed25519PublicKey):
        return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()
    return ""


def revoked_serials(lists_pem: str) -> tuple[str, ...]:
    """Return the serial numbers in some revocation lists (CRL, RFC 5280 §5), in decimal."""
    end = "-----END X509 CRL-----"
    lists = (x509.load_pem_x509_crl((text + end).encode()) for text in lists_pem.split(end) if text.strip())
    return tuple(sorted({str(entry.serial_number) for one in lists for entry in one}))
