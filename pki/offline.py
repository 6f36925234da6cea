"""A root that is kept away from every stack, and the issuing authorities it signs.

The root's key is needed when an issuing authority is made or renewed, which is every few years. Clients trust the root;
a stack has an issuing authority alone, and what it shows has that one's certificate behind a leaf's.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from pki import facts, pem
from pki.issue import (
    BACKDATED,
    PATH_LENGTH,
    SIGNS,
    IssueError,
    Permitted,
    SigningKey,
    authority_key,
    issuer_name,
    signed,
    subject_name,
)

YEAR: Final = timedelta(days=365)
COMMON_NAME_LENGTH: Final = 64  # RFC 5280, ub-common-name
_ORGANIZATION: Final = "Reflector"
SERVERS_ONLY: Final = (ExtendedKeyUsageOID.SERVER_AUTH,)
"""Extended key usage of an authority of servers, by which what it signs lets nobody in as a client (OpenSSL, Go and
others take an authority's as a limit of what is below it). An authority of clients signs peers too, and has none."""


def root(common_name: str, key: SigningKey, *, now: facts.Instant, years: int, permitted: Permitted) -> pem.Certificate:
    """Return a root that signs issuing authorities, and nothing below those may sign further ones.

    Raises: IssueError.
    """
    subject = _subject(common_name)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = _authority(subject, subject, identifier, PATH_LENGTH, now, now + years * YEAR).public_key(
        key.public_key()
    )
    if constraints := permitted.constraints():
        builder = builder.add_extension(constraints, critical=True)
    own = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    return signed(builder.add_extension(own, critical=False), key)


def issuing(
    common_name: str,
    key: SigningKey,
    root: pem.Certificate,
    root_key: SigningKey,
    *,
    now: facts.Instant,
    years: int,
    permitted: Permitted,
    uses: Sequence[x509.ObjectIdentifier] = (),
) -> pem.Certificate:
    """Return an issuing authority, which signs leaves alone.

    Raises: IssueError where `root` may not sign it, or ends before it.
    """
    more = [_limits(constraints)] if (constraints := permitted.constraints()) else []
    more += [x509.Extension(ExtensionOID.EXTENDED_KEY_USAGE, False, x509.ExtendedKeyUsage(uses))] if uses else []
    return _issuing(_subject(common_name), key.public_key(), more, root, root_key, now, years)


def renewed(
    old: pem.Certificate, root: pem.Certificate, root_key: SigningKey, *, now: facts.Instant, years: int
) -> pem.Certificate:
    """Return another certificate of an issuing authority: of the same key and name, for the same uses and names.

    Raises: IssueError, as `issuing`.
    """
    kinds = (x509.NameConstraints, x509.ExtendedKeyUsage)
    more = [one for one in old.extensions if isinstance(one.value, kinds)]
    return _issuing(old.subject, old.public_key(), more, root, root_key, now, years)


def _issuing(
    subject: x509.Name,
    public_key: Any,
    more: Sequence[x509.Extension[Any]],
    root: pem.Certificate,
    root_key: SigningKey,
    now: facts.Instant,
    years: int,
) -> pem.Certificate:
    if said := facts.unreadable(root) or facts.validity(root, now) or _cannot_sign(root, root_key):
        raise IssueError(f"the root {facts.shown(root.subject)}: {said}")
    ends = now + years * YEAR
    if ends > root.not_valid_after_utc:
        raise IssueError(
            f"{years} years end on {ends:%Y-%m-%d}, after the root on {root.not_valid_after_utc:%Y-%m-%d}: give fewer"
        )
    if subject == root.subject:
        raise IssueError(f"an issuing authority needs another name than its root {facts.shown(root.subject)}")
    identifier = x509.SubjectKeyIdentifier.from_public_key(public_key)
    builder = _authority(subject, root.subject, identifier, 0, now, ends).public_key(public_key)
    for one in more:
        builder = builder.add_extension(one.value, critical=one.critical)
    made = signed(builder.add_extension(authority_key(root), critical=False), root_key)
    if issuer_name(made) != subject_name(root):
        raise IssueError(f"the name of the root {facts.shown(root.subject)} cannot be written in its own bytes")
    return made


def _cannot_sign(root: pem.Certificate, key: SigningKey) -> str:
    constraints = facts.extension(root, x509.BasicConstraints)
    if constraints is None or not constraints.ca or constraints.path_length == 0:
        return "it may sign no authorities"
    if not pem.belongs(key, root):
        return "the key is that of another certificate"
    return facts.may_not_sign(root)


def _limits(constraints: x509.NameConstraints) -> x509.Extension[Any]:
    return x509.Extension(ExtensionOID.NAME_CONSTRAINTS, True, constraints)


def _subject(common_name: str) -> x509.Name:
    if not 1 <= len(common_name) <= COMMON_NAME_LENGTH:
        raise IssueError(f"a name must have 1 to {COMMON_NAME_LENGTH} characters, not {len(common_name)}")
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _authority(
    subject: x509.Name,
    issuer: x509.Name,
    identifier: x509.SubjectKeyIdentifier,
    path_length: int,
    now: facts.Instant,
    ends: facts.Instant,
) -> x509.CertificateBuilder:
    """Return a certificate of an authority but for its key, who has signed it, and what it is for."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .not_valid_before(now - BACKDATED)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(SIGNS, critical=True)
        .add_extension(identifier, critical=False)
    )
