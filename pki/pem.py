"""PEM as people have it: blocks among other text, of any bytes; what is delivered is parsed and written anew."""

import base64
import re
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
    load_pem_private_key,
    load_pem_public_key,
)

Certificate: TypeAlias = x509.Certificate
PrivateKey: TypeAlias = PrivateKeyTypes

_BLOCK: Final = re.compile(rb"-----BEGIN (?P<label>[A-Z0-9 ]+)-----(?P<body>.*?)-----END (?P=label)-----", re.DOTALL)
_RSA_BITS: Final = 2048  # NIST SP 800-131A, for signatures
_CERTIFICATES: Final = frozenset({b"CERTIFICATE", b"X509 CERTIFICATE"})


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
                found.append(
                    x509.load_der_x509_certificate(base64.b64decode(b"".join(block["body"].split()), None, True))
                )
            except ValueError:
                raise PemError(f"a certificate that cannot be read, number {len(found) + 1} in it") from None
    if not found:
        raise PemError(f"no certificate in it{_instead(data)}")
    return found


def private_key(data: bytes) -> PrivateKey:
    """Return the one private key in `data`.

    Raises: PemError.
    """
    keys = [block for block in _BLOCK.finditer(data) if block["label"].endswith(b"PRIVATE KEY")]
    if not keys:
        raise PemError(f"no private key in it{_instead(data)}")
    if len(keys) > 1:
        raise PemError("several private keys in it")
    if keys[0]["label"].startswith(b"ENCRYPTED") or b"ENCRYPTED" in keys[0]["body"]:
        raise PemError("a private key with a passphrase, which nobody is there to type")
    try:
        return load_pem_private_key(keys[0][0], password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise PemError("a private key that cannot be read") from None


def rsa_public_key_text(data: bytes) -> str:
    """Return the one RSA public key in `data` as PEM (SubjectPublicKeyInfo), written anew.

    Raises: PemError, with what is there instead.
    """
    keys = [block for block in _BLOCK.finditer(data) if block["label"] == b"PUBLIC KEY"]
    if not keys or _others(data):
        labels = _others(data)
        raise PemError(" and ".join(f"a {label}" for label in labels) if labels else "a text without any")
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
    labels = dict.fromkeys(block["label"] for block in _BLOCK.finditer(data) if block["label"] != b"PUBLIC KEY")
    return [label.decode("ascii").lower() for label in labels]


def _instead(data: bytes) -> str:
    labels = dict.fromkeys(block["label"].decode("ascii").lower() for block in _BLOCK.finditer(data))
    return f", but: {', '.join(labels)}" if labels else ""


def certificates_text(found: Iterable[Certificate]) -> str:
    """Return certificates as PEM, each block on lines of its own, and nothing else."""
    return "".join(certificate.public_bytes(Encoding.PEM).decode("ascii") for certificate in found)


def private_key_text(key: PrivateKey) -> str:
    """Return a key as PEM (PKCS #8), without a passphrase."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def belongs(key: PrivateKey, certificate: Certificate) -> bool:
    """Return whether `certificate` is of `key`."""
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form)
