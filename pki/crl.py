"""Revocation lists: who was let in, and is not any more."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pki import facts, issue, pem

REASONS: Final = {
    # As they are written in settings → as RFC 5280, 5.3.1 has them.
    "unspecified": x509.ReasonFlags.unspecified,
    "key-compromise": x509.ReasonFlags.key_compromise,
    "affiliation-changed": x509.ReasonFlags.affiliation_changed,
    "superseded": x509.ReasonFlags.superseded,
    "cessation-of-operation": x509.ReasonFlags.cessation_of_operation,
    "privilege-withdrawn": x509.ReasonFlags.privilege_withdrawn,
}


@dataclass(frozen=True, kw_only=True)
class Revoked:
    """A certificate that is not to be taken any more."""

    serial: int
    reason: str
    """One of REASONS."""
    on: facts.Instant
    """Since when."""


def revocation_list(
    issuer: str,
    issuer_key: str,
    revoked: Iterable[Revoked],
    *,
    number: int,
    this_update: facts.Instant,
    next_update: facts.Instant,
) -> str:
    """Return the list (PEM) of what `issuer` has revoked, in order; an empty one says that nothing is.

    A number has to be greater than those before it. Of one certificate that is revoked twice the earlier time stands.

    Raises: issue.IssueError.
    """
    try:
        certificate = pem.certificates(issuer.encode())[0]
    except pem.PemError as error:
        raise issue.IssueError(f"a certificate that cannot be read: {error}") from None
    key = issue.signing_key(issuer_key, certificate)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(certificate.subject)
        .last_update(this_update)
        .next_update(next_update)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(issue.authority_key(certificate), critical=False)
    )
    first: dict[int, Revoked] = {}
    for one in sorted(revoked, key=lambda one: (one.on, one.reason)):
        first.setdefault(one.serial, one)
    for serial in sorted(first):
        builder = builder.add_revoked_certificate(_entry(first[serial]))
    made = builder.sign(key, issue.hash_for(key), ecdsa_deterministic=issue.deterministic(key))
    return made.public_bytes(Encoding.PEM).decode("ascii")


def _entry(revoked: Revoked) -> x509.RevokedCertificate:
    entry = x509.RevokedCertificateBuilder().serial_number(revoked.serial).revocation_date(revoked.on)
    reason = REASONS[revoked.reason]
    if reason is not x509.ReasonFlags.unspecified:  # which is said by saying nothing (RFC 5280, 5.3.1)
        entry = entry.add_extension(x509.CRLReason(reason), critical=False)
    return entry.build()
