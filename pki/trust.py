"""Authorities people bring to be trusted: one list of them, written anew."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cryptography import x509

from pki import container, facts, pem

Problem = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where authorities come from."""

    name: str
    """What it is called in messages: a file, or a setting."""
    data: bytes = field(repr=False)
    """PEM, DER, PKCS #7 or PKCS #12."""
    password: str | None = field(repr=False, default=None)


@dataclass(frozen=True, kw_only=True)
class Authorities:
    """Whom to trust, each once, in the order they came."""

    bundle: str
    """PEM."""
    certificates: tuple[str, ...]
    """PEM of each, in the order of `subjects`."""
    subjects: tuple[str, ...]
    fingerprints: tuple[str, ...]
    """SHA-256, hexadecimal with colons, in the order of `subjects`."""
    sources: tuple[str, ...]
    """What each came from, in the order of `subjects`: the first source that has it."""
    earliest_end: facts.Instant
    warnings: tuple[str, ...] = ()


def authorities(sources: Sequence[Source], now: facts.Instant) -> Authorities | list[Problem]:
    """Return whom `sources` say to trust at `now`, or all that is wrong: the name of a source, and why."""
    wrong: list[Problem] = []
    warnings: list[str] = []
    kept: dict[pem.Certificate, str] = {}
    for source in sources:
        try:
            found = container.certificates(source.data, source.password)
        except pem.PemError as error:
            wrong.append((source.name, str(error)))
            continue
        if found.keys_there:
            wrong.append((source.name, "a private key in it, which is needed by nobody to trust an authority"))
        refused, taken = _sorted(found.certificates)
        if not taken or any(not is_leaf for is_leaf, _ in refused):
            wrong += [(source.name, reason) for _, reason in refused]
            continue
        warnings += [f"{source.name}: left out, {reason}" for _, reason in refused]
        for one in taken:
            expired = now > one.not_valid_after_utc
            warnings += [f"{source.name}: {reason}" for reason in _warnings(one, now, expired=expired)]
            if not expired:
                kept.setdefault(one, source.name)
    if not wrong and not kept:
        wrong = [(source.name, "nothing in it that is still valid") for source in sources]
    if wrong or not kept:
        return wrong
    return Authorities(
        bundle=pem.certificates_text(kept),
        certificates=tuple(pem.certificates_text([one]) for one in kept),
        subjects=tuple(facts.shown(one.subject) for one in kept),
        fingerprints=tuple(map(facts.fingerprint, kept)),
        sources=tuple(kept.values()),
        earliest_end=min(one.not_valid_after_utc for one in kept),
        warnings=tuple(dict.fromkeys([*warnings, *_of_one_name([*kept])])),
    )


def _sorted(certificates: Sequence[pem.Certificate]) -> tuple[list[tuple[bool, str]], list[pem.Certificate]]:
    """Return what is refused, each with whether it is a leaf and why, and what is taken."""
    refused: list[tuple[bool, str]] = []
    taken: list[pem.Certificate] = []
    for number, one in enumerate(certificates, 1):
        if reason := facts.unreadable(one):
            refused.append((False, f"number {number} in it has {reason}"))
        elif not _is_one(one):
            refused.append((True, f"number {number} in it is no CA certificate: {facts.shown(one.subject)}"))
        else:
            taken.append(one)
    return refused, taken


def _is_one(certificate: pem.Certificate) -> bool:
    return facts.is_authority(certificate) or _is_old(certificate)


def _is_old(certificate: pem.Certificate) -> bool:
    # Version 1 has no extensions in which an authority could say that it is one.
    return certificate.version == x509.Version.v1 and facts.signed_by(certificate, certificate)


def _warnings(one: pem.Certificate, now: facts.Instant, *, expired: bool) -> Iterator[str]:
    name = facts.shown(one.subject)
    if expired:
        yield f"{name} left out, {facts.validity(one, now)}"
        return
    if reason := facts.validity(one, now):
        yield f"{name} is {reason}"
    if _is_old(one):
        yield f"{name} is a root of version 1, which some clients refuse"
    elif reason := facts.may_not_sign(one):
        yield f"{name} is {reason}"
    if reason := facts.weak_key(one, for_browsers=True, signs=True):
        yield f"{name} has {reason}"
    if not facts.names_itself(one) and (reason := facts.weakness(one)):
        yield f"{name} is {reason}"


def _of_one_name(kept: Sequence[pem.Certificate]) -> Iterator[str]:
    """Yield those that only their keys tell apart: OpenSSL takes the first for both where a leaf does not say which."""
    for number, one in enumerate(kept):
        for other in kept[number + 1 :]:
            if one.subject.public_bytes() == other.subject.public_bytes() and not _of_one_key(one, other):
                yield (
                    f"two authorities of one name with different keys: {facts.shown(one.subject)}, "
                    f"{facts.fingerprint(one)} and {facts.fingerprint(other)}"
                )


def _of_one_key(one: pem.Certificate, other: pem.Certificate) -> bool:
    return pem.public_key_bytes(one) == pem.public_key_bytes(other)


def unknown_issuer(chain: str, public: bytes, listed: Authorities | None) -> str:
    """Return who signed the last of `chain` (PEM), where neither a root in `public` nor one of `listed` did."""
    last = pem.certificates(chain.encode())[-1]
    for one in [*pem.certificates(public), *(pem.certificates(listed.bundle.encode()) if listed is not None else ())]:
        if one == last or facts.signed_by(last, one):
            return ""
    return facts.shown(last.issuer)
