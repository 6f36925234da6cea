"""What one certificate says of itself, in the words problems and warnings are told in."""

import warnings
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from pki.pem import Certificate

Instant: TypeAlias = datetime
"""A moment, with a time zone: the caller's, for nothing here has a clock."""

Extension = TypeVar("Extension", bound=x509.ExtensionType)

SERVER: Final = "server"
CLIENT: Final = "client"
_SERVER: Final = {SERVER: ExtendedKeyUsageOID.SERVER_AUTH}
_CLIENT: Final = {CLIENT: ExtendedKeyUsageOID.CLIENT_AUTH}
USES: Final = {SERVER: _SERVER, CLIENT: _CLIENT, "peer": _SERVER | _CLIENT}
"""What a certificate may be used as, and what its extended key usage has to have for that."""

RSA_BITS: Final = 2048  # NIST SP 800-131A, and the Baseline Requirements of the CA/Browser Forum
_SERIAL_BYTES: Final = 20  # RFC 5280, 4.1.2.2
_SHOWN: Final = 100  # characters of a name in a message
_MINUTE: Final = "%Y-%m-%d %H:%M UTC"
_SECOND: Final = "%Y-%m-%d %H:%M:%S UTC"


def validity(certificate: Certificate, now: Instant) -> str:
    """Return why a certificate is not valid at `now`, or nothing."""
    if now > certificate.not_valid_after_utc:
        return f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if now < (start := certificate.not_valid_before_utc):
        clock = now.astimezone(UTC)
        # Within a minute both would read the same.
        form = _SECOND if start - clock < timedelta(minutes=1) else _MINUTE
        return f"not valid before {start:{form}}, and the clock says {clock:{form}}"
    return ""


def extension(certificate: Certificate, kind: type[Extension]) -> Extension | None:
    """Return what a certificate says in an extension, if it has that; `unreadable` has to have passed."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def unreadable(certificate: Certificate) -> str:
    """Return why nobody can make sense of a certificate, or nothing: what clients in Go, Python or Node refuse."""
    with warnings.catch_warnings():
        # The library says so on the screen; here it is said where it is asked.
        warnings.simplefilter("ignore")
        serial = certificate.serial_number
    if serial < 0:
        return "a negative serial number"
    if serial == 0:
        return "the serial number 0"
    if (serial.bit_length() + 8) // 8 > _SERIAL_BYTES:
        return f"a serial number of more than {_SERIAL_BYTES} bytes"
    try:
        known = list(certificate.extensions)
        certificate.subject.public_bytes()
        certificate.issuer.public_bytes()
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return "names or extensions that cannot be read"
    for one in known:
        if one.critical and isinstance(one.value, x509.UnrecognizedExtension):
            return f"a critical extension nobody knows ({one.oid.dotted_string})"
    try:
        certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "a key of a kind that cannot be read"
    return ""


def weakness(certificate: Certificate) -> str:
    """Return why the way a certificate is signed is refused today, or nothing."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return f"signed in a way nobody knows ({certificate.signature_algorithm_oid.dotted_string})"
    if isinstance(algorithm, hashes.SHA1 | hashes.MD5):
        return f"signed with {algorithm.name.upper().replace('SHA1', 'SHA-1')}, which clients refuse: SHA-256 or better"
    return ""


def weak_key(certificate: Certificate, *, for_browsers: bool, signs: bool = False) -> str:
    """Return why the key of a certificate is refused, or nothing; `signs` is for those of authorities."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < RSA_BITS:
            return f"an RSA key of {key.key_size} bits, which is too short: {RSA_BITS} or more"
        return ""
    allowed = "RSA of 2048 bits or more, P-256 or P-384"
    if isinstance(key, ec.EllipticCurvePublicKey):
        if isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
            return ""
        if not isinstance(key.curve, ec.SECP521R1):
            return f"a key on the curve {key.curve.name}, which browsers do not take: {allowed}"
        if for_browsers and not signs:
            return f"a key on the curve P-521, which Chrome and Edge do not take: {allowed}"
        return ""
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        name = "Ed25519" if isinstance(key, ed25519.Ed25519PublicKey) else "Ed448"
        return f"an {name} key, which no browser takes: {allowed}" if for_browsers else ""
    return f"a key of a kind TLS does not use: {allowed}"


def is_authority(certificate: Certificate) -> bool:
    """Return whether a certificate says that it is an authority's."""
    constraints = extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def may_not_sign(certificate: Certificate, used_as: str = SERVER) -> str:
    """Return why an authority's certificate may not sign certificates that are used as one of `USES`, or nothing."""
    usage = extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        return "a CA certificate that may not sign others (its key usage has no keyCertSign)"
    for part in _lacking(certificate, used_as):
        return f"a CA certificate that may not sign for {part}s (its extended key usage has no {part}Auth)"
    return ""


def may_not_revoke(certificate: Certificate) -> str:
    """Return why nobody would take a revocation list that an authority's certificate signs, or nothing."""
    usage = extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.crl_sign:
        return (
            "a CA certificate that may not sign lists of what is revoked, which an authority of clients has (its key "
            "usage has no cRLSign)"
        )
    return ""


def of_no_use(certificate: Certificate, used_as: str = SERVER) -> str:
    """Return why a certificate may not be used as one of `USES`, or nothing."""
    for part in _lacking(certificate, used_as):
        if part == SERVER:
            return "a certificate for something else than servers (its extended key usage has no serverAuth)"
        return "a certificate that has no client authentication use (its extended key usage has no clientAuth)"
    return ""


def _lacking(certificate: Certificate, used_as: str) -> list[str]:
    """Return what of a use an extended key usage leaves out; without one it is for everything."""
    usage = extension(certificate, x509.ExtendedKeyUsage)
    if usage is None or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usage:
        return []
    return [part for part, oid in USES[used_as].items() if oid not in usage]


def names_itself(certificate: Certificate) -> bool:
    """Return whether issuer and subject are the same bytes, as a root's are."""
    return certificate.issuer.public_bytes() == certificate.subject.public_bytes()


def signed_by(certificate: Certificate, issuer: Certificate) -> bool:
    """Return whether `issuer` is who signed, with its name in the same bytes and its key."""
    if certificate.issuer.public_bytes() != issuer.subject.public_bytes():
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except UnsupportedAlgorithm:
        # The name has to do; that nobody takes such a signature is said by `weakness`.
        return True
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def fingerprint(certificate: Certificate) -> str:
    """Return the SHA-256 of a certificate as people compare it: hexadecimal, with colons."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def serial(certificate: Certificate) -> str:
    """Return the serial number as `openssl x509 -serial` shows it."""
    return hexadecimal(certificate.serial_number)


def hexadecimal(serial_number: int) -> str:
    """Return a serial number as `serial` does: capital letters, two digits for each byte."""
    digits = f"{serial_number:X}"
    return digits if len(digits) % 2 == 0 else f"0{digits}"


def _one_line(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)


def shown(name: x509.Name) -> str:
    """Return a name for a message: one line, whatever is in it."""
    text = _one_line(name.rfc4514_string())
    return (text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…") or "(without a name)"


def common_name(certificate: Certificate) -> str:
    """Return by which name people find a certificate in their stores: its common name, or all of its subject."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return _one_line(str(names[0].value) if names else "").strip()[:_SHOWN] or shown(certificate.subject)


def issuer_url(certificate: Certificate) -> str:
    """Return where a certificate says its issuer's is to be had, or nothing."""
    access = extension(certificate, x509.AuthorityInformationAccess)
    for one in access or ():
        if one.access_method == AuthorityInformationAccessOID.CA_ISSUERS and isinstance(
            one.access_location, x509.UniformResourceIdentifier
        ):
            return _one_line(one.access_location.value)[:_SHOWN]
    return ""
