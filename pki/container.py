"""What people bring certificates and keys in: PEM, DER, PKCS #7 and PKCS #12, told apart by what they are."""

import base64
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, ParamSpec, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key, pkcs7, pkcs12

from pki import pem

Parameters = ParamSpec("Parameters")
T = TypeVar("T")

PKCS12: Final = "PKCS #12"
_SEQUENCE: Final = 0x30
_SIGNED_DATA: Final = bytes.fromhex("06092a864886f70d010702")  # RFC 5652, 5.1
_VERSION_3: Final = bytes.fromhex("020103")  # RFC 7292, 4
_SHORTEST: Final = 2  # a tag and a length
_HEAD: Final = 24  # bytes in which both of these stand, however long the lengths before them are
_WHOLE: Final = b"-----END "


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What is in a file."""

    form: str
    """PEM, DER, PKCS #7 or PKCS #12."""
    certificates: tuple[pem.Certificate, ...]
    """In the order of the file."""
    keys: tuple[pem.PrivateKey, ...] = field(repr=False, default=())
    """Opened; empty where they were only to be counted."""
    keys_there: int = 0


def read(data: bytes, password: str | None = None, *, open_keys: bool = True) -> Contents:
    """Return what is in `data`, whatever form it has; no password and an empty one are the same.

    With `open_keys` false keys in PEM are counted and not opened, for files that should have none.

    Raises: PemError, with what is there instead.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        # What PowerShell writes with `>`.
        data = data.decode("utf-16", "replace").encode()
    if pem.labels(data):
        return _from_pem(data, password, open_keys=open_keys)
    if data[:1] == bytes([_SEQUENCE]):
        return _from_der(data, password)
    raise pem.PemError(f"no certificate and no key in it, but: {_what(data)}")


def certificates(data: bytes, password: str | None = None) -> Contents:
    """Return what is in a file that has to have certificates in it.

    Raises: PemError.
    """
    found = read(data, password, open_keys=False)
    if not found.certificates:
        raise pem.PemError("no certificate in it, but: private key")
    return found


def key(data: bytes, password: str | None = None) -> pem.PrivateKey:
    """Return the one key in a file that has to have one.

    Raises: PemError.
    """
    found = read(data, password)
    if not found.keys:
        raise pem.PemError("no private key in it, but: certificate")
    return found.keys[0]


def swapped(certificate: bytes, key: bytes) -> bool:
    """Return whether a file for a certificate has a key in it, and one for a key a certificate."""
    try:
        return read(certificate, open_keys=False).keys_there > 0 and bool(certificates(key).certificates)
    except pem.PemError:
        return False


def _from_pem(data: bytes, password: str | None, *, open_keys: bool) -> Contents:
    labels = pem.labels(data)
    bundled = [one for body in pem.bodies(data, "PKCS7") + pem.bodies(data, "CMS") for one in _pkcs7(body)]
    keys_there = sum(label.endswith("PRIVATE KEY") for label in labels)
    found = bundled
    if any(label.endswith("CERTIFICATE") for label in labels) or not (bundled or keys_there):
        found = pem.certificates(data) + bundled
    keys = (pem.private_key(data, password),) if keys_there and open_keys else ()
    return Contents(form="PEM", certificates=tuple(found), keys=keys, keys_there=keys_there)


def _from_der(data: bytes, password: str | None) -> Contents:
    if len(data) < _SHORTEST or pem.der_length(data) > len(data):
        raise pem.PemError("a file that is cut off")
    head = data[:_HEAD]
    if _SIGNED_DATA in head and _VERSION_3 not in head[: head.index(_SIGNED_DATA)]:
        return Contents(form="PKCS #7", certificates=tuple(_pkcs7(data)))
    found: list[pem.Certificate] = []
    rest = data
    while rest[:1] == bytes([_SEQUENCE]) and (one := _tried(pem.der_certificate, rest[: pem.der_length(rest)])):
        found.append(one)
        rest = rest[pem.der_length(rest) :]
    if found:
        return Contents(form="DER", certificates=tuple(found))
    if _is_pkcs12(data):
        return _from_pkcs12(data, password)
    return Contents(form="DER", certificates=(), keys=(_der_key(data, password),), keys_there=1)


def _is_pkcs12(data: bytes) -> bool:
    # PFX is a version and then a ContentInfo; a key in PKCS #8 has 0 or 1 for a version, one of RSA 0, one of EC 1.
    start = 2 + (data[1] - 0x80 if data[1] > 0x80 else 0)
    return data[start : start + len(_VERSION_3)] == _VERSION_3


def _from_pkcs12(data: bytes, password: str | None) -> Contents:
    data = data[: pem.der_length(data)]
    # No password and an empty one are two encodings, and files of both are about.
    found = _tried(pkcs12.load_pkcs12, data, None) or _tried(pkcs12.load_pkcs12, data, b"")
    if password:
        if found:
            raise pem.PemError("wrong password: it has none")
        found = _tried(pkcs12.load_pkcs12, data, password.encode())
    if found is None:
        raise pem.PemError("wrong password, or damaged" if password else "no password is given, and it has one")
    own = [found.cert.certificate] if found.cert else []
    every = tuple(own + [one.certificate for one in found.additional_certs])
    if not every and found.key is None:
        raise pem.PemError("no certificate and no key in it, but: an empty PKCS #12")
    keys = (found.key,) if found.key is not None else ()
    return Contents(form=PKCS12, certificates=every, keys=keys, keys_there=len(keys))


def _der_key(data: bytes, password: str | None) -> pem.PrivateKey:
    der = data[: pem.der_length(data)]
    try:
        return pem.der_private_key(der)
    except TypeError:
        if not password:
            raise pem.PemError("a private key with a passphrase, which nobody is there to type") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        if isinstance(error, pem.PemError):
            raise
        raise pem.PemError(f"no certificate and no key in it, but: {_what(der)}") from None
    try:
        return pem.der_private_key(der, password.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise pem.PemError("wrong password") from None


def _pkcs7(der: bytes) -> Sequence[pem.Certificate]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = pkcs7.load_der_pkcs7_certificates(der)
    except (ValueError, UnsupportedAlgorithm):
        raise pem.PemError("a PKCS #7 that cannot be read") from None
    if not found:
        raise pem.PemError("no certificate in it, but: an empty PKCS #7")
    return found


def _tried(load: Callable[Parameters, T], *args: Parameters.args, **kwargs: Parameters.kwargs) -> T | None:
    try:
        return load(*args, **kwargs)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _what(data: bytes) -> str:
    """Return what a file is that has nothing we look for."""
    text = data.lstrip(b"\xef\xbb\xbf \t\r\n\0")
    if not text:
        return "nothing"
    if b"-----BEGIN " in text:
        return "a block that never ends" if _WHOLE not in text else "a block that ends as another than it began"
    if text.startswith(b"\xfe\xed\xfe\xed"):
        return "a Java keystore; convert it to PKCS #12"
    if text.startswith((b"ssh-", b"ecdsa-")):
        return "a key of SSH"
    if text[:1] == b"<":
        return "a web page"
    if text[:1] == bytes([_SEQUENCE]):
        for name, load in (
            ("a certificate request", x509.load_der_x509_csr),
            ("a revocation list", x509.load_der_x509_crl),
            ("a public key", load_der_public_key),
        ):
            if _tried(load, text) is not None:
                return name
        return "DER of another kind, or damaged"
    try:
        inner = base64.b64decode(b"".join(text.split()), None, True)
    except ValueError:
        return "a text or a file of another kind"
    if inner[:1] == bytes([_SEQUENCE]) or b"-----BEGIN " in inner:
        return "base64 without the lines BEGIN and END around it"
    return "a text or a file of another kind"
