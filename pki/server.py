"""A certificate of their own that people bring for a server: what of it fits, and what is served of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from pki import container, facts, names, pem
from pki.chain import Chain, chain, constrained, defects, missing
from pki.client import CERTIFICATE, KEY
from pki.moments import rfc3339

CHAIN: Final = "chain"
SOON_DAYS: Final = 30
LONGEST_DAYS: Final = 398  # CA/Browser Forum, Baseline Requirements 6.3.2; Safari holds private authorities to 825
Problem = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class ServerCertificate:
    """What is served, written anew."""

    chain: str
    """PEM: the server's own, then those between it and the root, which is left out."""
    key: str = field(repr=False)
    """PEM (PKCS #8), without a passphrase."""
    names: tuple[str, ...]
    """DNS names and addresses it is for, as they stand in it."""
    common_name: str
    """Of its subject, or the whole subject where there is none."""
    root: str
    """PEM of the root, where that was brought along; it is not served."""
    expiry: facts.Instant
    """When the first of the chain ends."""
    serial: str
    """Hexadecimal."""
    fingerprint: str
    """SHA-256 of the server's own, hexadecimal with colons."""
    warnings: tuple[str, ...] = ()

    @property
    def ends(self) -> str:
        """`expiry` as RFC 3339 time."""
        return rfc3339(self.expiry)


def server_certificate(
    certificate: bytes,
    key: bytes | None,
    chain_file: bytes | None = None,
    *,
    password: str | None = None,
    served: Sequence[str],
    now: facts.Instant,
    for_browsers: bool = True,
    used_as: str = facts.SERVER,
    keyless: bool = False,
) -> ServerCertificate | list[Problem]:
    """Return what is served of what people bring, or all that is wrong: CERTIFICATE, KEY or CHAIN, and why.

    `key` may be left out where `certificate` is a PKCS #12 with the key in it, or where it is `keyless`, which leaves
    the key empty. `password` opens whatever has one. `served` are DNS names in ASCII (IDN as A-labels), IP addresses
    and URIs that have to be covered, at `now`. `used_as` is one of `facts.USES`: what browsers refuse counts for
    servers alone.
    """
    for_browsers = for_browsers and used_as == facts.SERVER
    wrong: list[Problem] = []
    own = _contents(CERTIFICATE, certificate, password, wrong)
    more = _contents(CHAIN, chain_file, password, wrong) if chain_file else None
    private_key = None if keyless else _key(own, certificate, key, password, wrong)
    if own is None:
        return wrong
    leaf = _leaf(own.certificates, private_key, wrong)
    pool = [*own.certificates, *(more.certificates if more else ())]
    unreadable = [(what, one, why) for what, one, why in _unreadable(own, more)]
    if unreadable:
        return [*wrong, *((what, f"{_called(one, leaf)}{why}") for what, one, why in unreadable)]
    wrong += [
        (CERTIFICATE, reason) for reason in leaf_problems(leaf, served, now, for_browsers=for_browsers, used_as=used_as)
    ]
    if facts.is_authority(leaf):
        # Whatever is over an authority says nothing of a server.
        return wrong
    way = chain(leaf, pool, now)
    warnings = list(_warnings(leaf, way, now))
    wrong += [
        (CHAIN, reason)
        for reason in _chain_problems(
            leaf, way, more, served, now, warnings, for_browsers=for_browsers, used_as=used_as
        )
    ]
    if wrong or (private_key is None and not keyless):
        return wrong
    dns, addresses = names.listed(leaf)
    return ServerCertificate(
        chain=pem.certificates_text([leaf, *way.above]),
        key=pem.private_key_text(private_key) if private_key is not None else "",
        names=(*dns, *map(str, addresses)),
        common_name=facts.common_name(leaf),
        root=pem.certificates_text([way.root]) if way.root is not None else "",
        expiry=min(one.not_valid_after_utc for one in (leaf, *way.over(leaf))),
        serial=facts.serial(leaf),
        fingerprint=facts.fingerprint(leaf),
        warnings=tuple(warnings),
    )


def _contents(what: str, data: bytes, password: str | None, wrong: list[Problem]) -> container.Contents | None:
    try:
        found = container.certificates(data, password)
    except pem.PemError as error:
        wrong.append((what, str(error)))
        return None
    if found.keys_there and (found.form != container.PKCS12 or what == CHAIN):
        wrong.append((what, "a private key in it, which belongs in a file of its own"))
    return found


def _key(
    own: container.Contents | None, certificate: bytes, key: bytes | None, password: str | None, wrong: list[Problem]
) -> pem.PrivateKey | None:
    if key is None:
        if own is not None and own.form == container.PKCS12 and own.keys:
            return own.keys[0]
        if own is not None and not own.keys_there:
            wrong.append((KEY, "none is given, and the certificate's file has none in it"))
        return None
    try:
        found = container.key(key, password)
    except pem.PemError as error:
        if own is not None or not container.swapped(certificate, key):
            # One mistake, one line: of files that are swapped, the certificate's says it.
            wrong.append((KEY, str(error)))
        return None
    if isinstance(found, rsa.RSAPrivateKey) and found.key_size < facts.RSA_BITS and own is None:
        wrong.append((KEY, f"an RSA key of {found.key_size} bits, which is too short: {facts.RSA_BITS} or more"))
    return found


def _leaf(
    certificates: Sequence[pem.Certificate], private_key: pem.PrivateKey | None, wrong: list[Problem]
) -> pem.Certificate:
    """Return the server's own among several: the one of the key, else the first that signs none of the others."""
    if private_key is not None:
        for one in certificates:
            if pem.belongs(private_key, one):
                return one
        wrong.append((KEY, "the key of another certificate"))
    issuers = {one.issuer.public_bytes() for one in certificates if not facts.names_itself(one)}
    return next((one for one in certificates if one.subject.public_bytes() not in issuers), certificates[0])


def _unreadable(own: container.Contents, more: container.Contents | None) -> Iterator[tuple[str, pem.Certificate, str]]:
    for what, contents in ((CERTIFICATE, own), (CHAIN, more)):
        for one in contents.certificates if contents else ():
            if why := facts.unreadable(one):
                yield what, one, why


def _called(one: pem.Certificate, leaf: pem.Certificate) -> str:
    return "" if one == leaf else f"{facts.shown(one.subject)}: "


def leaf_problems(
    leaf: pem.Certificate, served: Sequence[str], now: facts.Instant, *, for_browsers: bool, used_as: str
) -> Iterator[str]:
    """Yield why clients refuse a leaf, whoever signed it; see `server_certificate`."""
    if facts.is_authority(leaf):
        yield f"a CA certificate ({facts.shown(leaf.subject)}), and a {used_as}'s is needed"
        return
    for problem in (
        facts.validity(leaf, now),
        facts.weakness(leaf),
        facts.weak_key(leaf, for_browsers=for_browsers),
    ):
        if problem:
            yield problem
    if problem := facts.of_no_use(leaf, used_as):
        yield problem
    usage = facts.extension(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        yield "a certificate that may not sign a handshake (its key usage has no digitalSignature)"
    for name in served:
        if problem := names.uncovered(leaf, name):
            yield problem


def _chain_problems(
    leaf: pem.Certificate,
    way: Chain,
    more: container.Contents | None,
    served: Sequence[str],
    now: facts.Instant,
    warnings: list[str],
    *,
    for_browsers: bool,
    used_as: str,
) -> Iterator[str]:
    for one in dict.fromkeys(more.certificates if more else ()):
        if one != leaf and not facts.is_authority(one) and not _is_old_root(one):
            yield f"a certificate of no CA in it, where only those over the server's belong: {facts.shown(one.subject)}"
    last = way.above[-1] if way.above else leaf
    alone = not way.above and way.root is None
    if way.root is None and (any(map(facts.is_authority, way.left_over)) or (alone and facts.issuer_url(leaf))):
        whose = "" if last == leaf else f"of {facts.shown(last.subject)}: "
        yield f"{whose}{missing(last, way.left_over)}; add it, also where it is the root"
    # Of URIs nothing here judges constraints, see `names.unjudged`.
    presented = dict.fromkeys([*(name for name in served if "://" not in name), *_presented(leaf)])
    for below, one in enumerate(way.over(leaf)):
        name, is_root = facts.shown(one.subject), one == way.root
        for problem in defects(one, below, now, is_root=is_root, for_browsers=for_browsers, used_as=used_as):
            if is_root:
                # What clients have of it may be another certificate than the one brought along.
                warnings.append(f"the root {name}: {problem}")
            else:
                yield f"{name}: {problem}"
        for problem in constrained(one, presented):
            if is_root:
                warnings.append(f"the root {name} {problem}")
            else:
                yield f"{name} {problem}"
        if names.unjudged(one):
            warnings.append(f"{name} has name constraints of other kinds than DNS names and addresses")


def _presented(leaf: pem.Certificate) -> list[str]:
    # Clients hold every name in a certificate against the constraints, not only the one they asked for.
    dns, addresses = names.listed(leaf)
    return [*dns, *map(str, addresses)]


def _is_old_root(certificate: pem.Certificate) -> bool:
    return certificate.version == x509.Version.v1 and facts.names_itself(certificate)


def _warnings(leaf: pem.Certificate, way: Chain, now: facts.Instant) -> Iterator[str]:
    for one in (leaf, *way.over(leaf)):
        left = one.not_valid_after_utc - now
        if 0 <= left.days < SOON_DAYS:
            whose = "it" if one == leaf else f"{facts.shown(one.subject)} over it"
            yield f"{whose} ends within {SOON_DAYS} days, on {one.not_valid_after_utc:%Y-%m-%d}"
    days = (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days
    if days > LONGEST_DAYS:
        yield f"it is valid for {days} days; browsers take {LONGEST_DAYS} at most from public authorities"
    if facts.names_itself(leaf):
        yield "it signs itself: nobody trusts it who is not told to, one by one"
    elif not way.above and way.root is None:
        yield f"no intermediate comes with it: whoever calls has to trust {facts.shown(leaf.issuer)} itself"
    if way.root is not None or not any(map(facts.is_authority, way.left_over)):
        for one in way.left_over:
            yield f"left out, no part of its chain: {facts.shown(one.subject)}"
