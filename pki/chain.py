"""The way from a certificate to a root, whatever order its parts come in."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cryptography import x509

from pki import facts, names
from pki.pem import Certificate


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Authorities over a certificate, put in order."""

    above: tuple[Certificate, ...]
    """Those between it and the root, the nearest first."""
    root: Certificate | None
    """Who is at the end, where that was brought along; clients have their own, so it is not served."""
    left_over: tuple[Certificate, ...]
    """Those that are no part of the way."""

    def over(self, first: Certificate) -> tuple[Certificate, ...]:
        """Return all that signs, from the one over `first` to the root."""
        return self.above if self.root is None or self.root == first else (*self.above, self.root)


def chain(first: Certificate, pool: Iterable[Certificate], now: facts.Instant) -> Chain:
    """Return the way up from `first` in `pool`, in which it may be itself, and anything more than once.

    Where several could have signed (an authority that renewed its certificate), those valid at `now` go before
    roots, roots before others, and the one that ends last before the rest; what was not taken of them is no left over.
    """
    rest = [one for one in dict.fromkeys(pool) if one != first]
    way, last = [first], first
    others: set[Certificate] = set()
    while not facts.names_itself(last):
        signers = [one for one in rest if one not in way and facts.signed_by(last, one)]
        if not signers:
            break
        last = max(
            signers, key=lambda one: (not facts.validity(one, now), facts.names_itself(one), one.not_valid_after_utc)
        )
        others |= {*signers}
        way.append(last)
    root = last if facts.names_itself(last) else None
    above = way[1:-1] if root is not None else way[1:]
    # A root is at the end of its own way, and an authority's other certificates lead to roots that are not needed.
    parents = {one for other in others for one in rest if facts.signed_by(other, one)}
    left = tuple(one for one in rest if one not in way and one not in others and one not in parents)
    return Chain(above=tuple(above), root=root, left_over=left)


def missing(last: Certificate, pool: Iterable[Certificate]) -> str:
    """Return what is missing over `last`, and where it may be had."""
    said = f"the certificate of its issuer {facts.shown(last.issuer)}"
    where = f", to be had at {url}" if (url := facts.issuer_url(last)) else ""
    for one in pool:
        if one.subject.public_bytes() == last.issuer.public_bytes():
            return f"{said} is there with another key than the one it was signed with; the right one is missing{where}"
        if one.subject == last.issuer:
            return f"{said} is there with its name in other bytes, which clients do not take for it"
    return f"{said} is missing{where}"


def defects(
    authority: Certificate,
    below: int,
    now: facts.Instant,
    *,
    is_root: bool = False,
    for_browsers: bool = True,
    used_as: str = facts.SERVER,
) -> Iterator[str]:
    """Yield why an authority on the way to what is used as one of `facts.USES`, with so many others below it, is
    refused."""
    if problem := facts.unreadable(authority):
        yield problem
        return
    if problem := facts.validity(authority, now):
        yield problem
    # A root is trusted for being one, not for its signature.
    if not is_root and (problem := facts.weakness(authority)):
        yield problem
    if problem := facts.weak_key(authority, for_browsers=for_browsers, signs=True):
        yield problem
    if facts.is_authority(authority) and (problem := facts.may_not_sign(authority, used_as)):
        yield problem
    constraints = facts.extension(authority, x509.BasicConstraints)
    if constraints and constraints.ca and constraints.path_length is not None and constraints.path_length < below:
        yield f"its path length allows {constraints.path_length} authorities below it, and there is a need for {below}"


def constrained(authority: Certificate, wanted: Iterable[str]) -> Iterator[str]:
    """Yield what the name constraints of an authority forbid of `wanted`."""
    for name in wanted:
        if problem := names.forbidden(authority, name):
            yield problem
