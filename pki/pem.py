"""PEM as people have it: blocks among other text, of any bytes; what is delivered is parsed and written anew."""

import base64
import re
import warnings
from collections.abc import Iterable
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
    load_pem_public_key,
)

Certificate: TypeAlias = x509.Certificate
PrivateKey: TypeAlias = PrivateKeyTypes

_BLOCK: Final = re.compile(rb"-----BEGIN (?P<label>[A-Z0-9 ]+)-----(?P<body>.*?)-----END (?P=label)-----", re.DOTALL)
_RSA_BITS: Final = 2048  # NIST SP 800-131A, for signatures
_TRUSTED: Final = b"TRUSTED CERTIFICATE"
_CERTIFICATES: Final = frozenset({b"CERTIFICATE", b"X509 CERTIFICATE", _TRUSTED})
_SHORT: Final = 2  # a tag and a length
_INDEFINITE: Final = 0x80
_PRIME_FIELD: Final = bytes.fromhex("06072a8648ce3d0101")  # of explicit curve parameters, in DER (RFC 3279)
_WITH_PASSPHRASE: Final = "a private key with a passphrase, which nobody is there to type"


class PemError(ValueError):
    """What is wrong with a text, with nothing of its content."""


def certificates(data: bytes) -> list[Certificate]:
    """Return the certificates in `data`, in its order; there is one or more.

    Raises: PemError.
    """
    found: list[Certificate] = []
    for block in _BLOCK.finditer(data):
        if block["label"] in _CERTIFICATES:
            try:
                der = base64.b64decode(b"".join(block["body"].split()), None, True)
                # OpenSSL writes what a certificate is trusted for behind it.
                found.append(der_certificate(der[: der_length(der)] if block["label"] == _TRUSTED else der))
            except ValueError:
                raise PemError(f"a certificate that cannot be read, number {len(found) + 1} in it") from None
    if not found:
        raise PemError(f"no certificate in it{_instead(data)}")
    return found


def der_certificate(der: bytes) -> Certificate:
    """Return the certificate that `der` is, without a word of the library's on the screen.

    Raises: ValueError.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return x509.load_der_x509_certificate(der)


def der_length(data: bytes) -> int:
    """Return how many bytes the first element of `data` in DER takes, all of `data` where it does not say so."""
    if len(data) < _SHORT or data[1] == _INDEFINITE:
        return len(data)
    if data[1] < _INDEFINITE:
        return 2 + data[1]
    of_length = data[1] - _INDEFINITE
    return 2 + of_length + int.from_bytes(data[2 : 2 + of_length], "big")


def labels(data: bytes) -> list[str]:
    """Return what blocks are in `data`, each as often as it is there."""
    return [block["label"].decode("ascii") for block in _BLOCK.finditer(data)]


def bodies(data: bytes, label: str) -> list[bytes]:
    """Return the DER in each block of this label.

    Raises: PemError.
    """
    try:
        return [
            base64.b64decode(b"".join(block["body"].split()), None, True)
            for block in _BLOCK.finditer(data)
            if block["label"] == label.encode("ascii")
        ]
    except ValueError:
        raise PemError(f"a block {label} that cannot be read") from None


def private_key(data: bytes, password: str | None = None) -> PrivateKey:
    """Return the one private key in `data`, opened with `password` where it has one.

    Raises: PemError.
    """
    keys = [block for block in _BLOCK.finditer(data) if block["label"].endswith(b"PRIVATE KEY")]
    if not keys:
        raise PemError(f"no private key in it{_instead(data)}")
    if len(keys) > 1:
        raise PemError("several private keys in it")
    label, body = keys[0]["label"], keys[0]["body"]
    locked = label.startswith(b"ENCRYPTED") or b"ENCRYPTED" in body
    if label.startswith(b"OPENSSH"):
        raise PemError("a private key in the form of OpenSSH, which nothing reads for TLS")
    if locked and not password:
        raise PemError(_WITH_PASSPHRASE)
    given = password.encode() if locked and password else None
    try:
        if b":" in body:
            # Old headers say how it is encrypted; they end with an empty line, whatever ends a line.
            return load_pem_private_key(b"\n".join(keys[0][0].splitlines()) + b"\n", given)
        return der_private_key(base64.b64decode(b"".join(body.split()), None, True), given)
    except PemError:
        raise
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise PemError("wrong password" if locked else "a private key that cannot be read") from None


def der_private_key(der: bytes, password: bytes | None = None) -> PrivateKey:
    """Return the key that `der` is.

    Raises: PemError where its curve has no name; otherwise what the library raises.
    """
    try:
        return load_der_private_key(der, password)
    except (ValueError, UnsupportedAlgorithm):
        if _PRIME_FIELD in der:
            raise PemError("an EC key with explicit curve parameters; write it with the curve's name") from None
        raise


def rsa_public_key_text(data: bytes) -> str:
    """Return the one RSA public key in `data` as PEM (SubjectPublicKeyInfo), written anew.

    Raises: PemError, with what is there instead.
    """
    keys = [block for block in _BLOCK.finditer(data) if block["label"] == b"PUBLIC KEY"]
    if not keys or _others(data):
        others = _others(data)
        raise PemError(" and ".join(f"a {label}" for label in others) if others else "a text without any")
    if len(keys) > 1:
        raise PemError("several of them")
    try:
        key = load_pem_public_key(keys[0][0])
    except (ValueError, UnsupportedAlgorithm):
        raise PemError("one that cannot be read") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise PemError("a key of another kind: tokens have to be signed with RS256")
    if key.key_size < _RSA_BITS:
        raise PemError(f"one of {key.key_size} bits, which is too short: {_RSA_BITS} or more")
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def _others(data: bytes) -> list[str]:
    """Return what else than public keys is in `data`, each once."""
    return [label.lower() for label in dict.fromkeys(labels(data)) if label != "PUBLIC KEY"]


def _instead(data: bytes) -> str:
    there = dict.fromkeys(label.lower() for label in labels(data))
    return f", but: {', '.join(there)}" if there else ""


def certificates_text(found: Iterable[Certificate]) -> str:
    """Return certificates as PEM, each block on lines of its own, and nothing else."""
    return "".join(certificate.public_bytes(Encoding.PEM).decode("ascii") for certificate in found)


def der(certificate: Certificate) -> bytes:
    """Return a certificate as DER."""
    return certificate.public_bytes(Encoding.DER)


def private_key_text(key: PrivateKey) -> str:
    """Return a key as PEM (PKCS #8), without a passphrase."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def public_key_bytes(holder: PrivateKey | Certificate) -> bytes:
    """Return the public key of a key or certificate, DER (SubjectPublicKeyInfo).

    Raises: ValueError or UnsupportedAlgorithm where the library does not know its kind.
    """
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def belongs(key: PrivateKey, certificate: Certificate) -> bool:
    """Return whether `certificate` is of `key`."""
    try:
        return public_key_bytes(key) == public_key_bytes(certificate)
    except (ValueError, UnsupportedAlgorithm):
        return False
