"""An authority's certificate and key that people bring to sign with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cryptography import x509

from pki import container, facts, names, pem
from pki.chain import chain, constrained, defects
from pki.client import AUTHORITY, KEY
from pki.moments import rfc3339

Problem = tuple[str, str]
_HOUR_SECONDS = 3600


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Who signs, written anew."""

    certificate: str
    """PEM of the one that signs."""
    key: str = field(repr=False)
    """PEM (PKCS #8), without a passphrase."""
    chain: str
    """PEM of what a server has to show behind a leaf: the signer, then those over it, without the root; a signer that
    is the root itself is not in it."""
    root: str | None
    """PEM of the root, where that was brought along."""
    subject: str
    expiry: facts.Instant
    """When the first of them ends; no leaf may end later."""
    fingerprint: str
    anchor: str
    """Fingerprint of whom clients are told to trust: the root, where that was brought along, else who signs."""
    warnings: tuple[str, ...] = ()

    @property
    def ends(self) -> str:
        """`expiry` as RFC 3339 time."""
        return rfc3339(self.expiry)

    @property
    def certificates(self) -> str:
        """PEM of who signs, and of the root where that is another and was brought along."""
        return self.certificate if self.root in {None, self.certificate} else f"{self.certificate}{self.root}"


def signer(
    certificate: bytes,
    key: bytes | None,
    *,
    password: str | None = None,
    leaf_hours: int,
    served: Sequence[str],
    now: facts.Instant,
    between: int = 0,
    used_as: str = facts.SERVER,
    revokes: bool = False,
) -> Signer | list[Problem]:
    """Return who is to sign, or all that is wrong: AUTHORITY or KEY, and why.

    `certificate` may hold those over it too; `key` may be left out where it is a PKCS #12 with the key in it. Leaves of
    `leaf_hours` are to be signed for `served` from `now` on, to be used as one of `facts.USES`, with so many
    authorities `between`; and lists of them where it `revokes`.
    """
    wrong: list[Problem] = []
    try:
        found = container.certificates(certificate, password)
    except pem.PemError as error:
        wrong.append((AUTHORITY, str(error)))
        found = None
    private_key = _key(found, certificate, key, password, wrong)
    if found is None:
        return wrong
    if found.keys_there and found.form != container.PKCS12:
        wrong.append((AUTHORITY, "a private key in it, which belongs in a file of its own"))
    one = found.certificates[0]
    if private_key is not None:
        own = next((each for each in found.certificates if pem.belongs(private_key, each)), None)
        if own is None:
            wrong.append((KEY, "the key of another certificate"))
        one = own or one
    if reasons := [reason for each in found.certificates if (reason := facts.unreadable(each))]:
        return [*wrong, *((AUTHORITY, reason) for reason in reasons)]
    way = chain(one, found.certificates, now)
    ends = min(each.not_valid_after_utc for each in (one, *way.over(one)))
    wrong += [(AUTHORITY, reason) for reason in _problems(one, between, served, now, used_as)]
    if revokes and facts.is_authority(one) and (reason := facts.may_not_revoke(one)):
        wrong.append((AUTHORITY, reason))
    for below, over in enumerate(way.over(one), between + 1):
        name = facts.shown(over.subject)
        reasons = [*_defects(over, below, now, used_as, is_root=over == way.root), *constrained(over, served)]
        wrong += [(AUTHORITY, f"{name} over it: {reason}") for reason in reasons]
    if now <= ends and (ends - now).total_seconds() < leaf_hours * _HOUR_SECONDS:
        wrong.append((AUTHORITY, f"ends on {ends:%Y-%m-%d %H:%M UTC}, before a leaf of {leaf_hours} hours would"))
    if wrong or private_key is None:
        return wrong
    is_root = facts.names_itself(one)
    return Signer(
        certificate=pem.certificates_text([one]),
        key=pem.private_key_text(private_key),
        chain="" if is_root else pem.certificates_text([one, *way.above]),
        root=pem.certificates_text([way.root]) if way.root else None,
        subject=facts.shown(one.subject),
        expiry=ends,
        fingerprint=facts.fingerprint(one),
        anchor=facts.fingerprint(way.root or one),
        warnings=tuple(_warnings(one, (one, *way.over(one)), known=way.root is not None)),
    )


def _key(
    found: container.Contents | None,
    certificate: bytes,
    key: bytes | None,
    password: str | None,
    wrong: list[Problem],
) -> pem.PrivateKey | None:
    if key is None:
        if found is not None and found.form == container.PKCS12 and found.keys:
            return found.keys[0]
        if found is not None:
            wrong.append((KEY, "none is given"))
        return None
    try:
        return container.key(key, password)
    except pem.PemError as error:
        if found is not None or not container.swapped(certificate, key):
            # One mistake, one line: of files that are swapped, the certificate's says it.
            wrong.append((KEY, str(error)))
        return None


def _problems(
    one: pem.Certificate, between: int, served: Sequence[str], now: facts.Instant, used_as: str
) -> Iterator[str]:
    if not facts.is_authority(one):
        yield f"no CA certificate: {facts.shown(one.subject)}"
        return
    yield from _defects(one, between, now, used_as, is_root=facts.names_itself(one))
    yield from constrained(one, served)


def _defects(one: pem.Certificate, below: int, now: facts.Instant, used_as: str, *, is_root: bool) -> Iterator[str]:
    # What clients are signed with no browser ever judges.
    return defects(one, below, now, is_root=is_root, for_browsers=used_as != facts.CLIENT, used_as=used_as)


def _warnings(one: pem.Certificate, every: Sequence[pem.Certificate], *, known: bool) -> Iterator[str]:
    if facts.extension(one, x509.KeyUsage) is None:
        yield "it has no key usage, which strict clients (Python 3.13) refuse"
    if not known:
        yield f"its root is not in it: whoever calls has to trust {facts.shown(one.issuer)} by other means"
    for each in every:
        if names.unjudged(each):
            yield f"{facts.shown(each.subject)} has name constraints of other kinds than DNS names and addresses"
