"""The authorities of the stack: who signs, for what purpose, which of their roots are trusted, and what is revoked."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

from pydantic import Field, StringConstraints

from settings.base import Conflict, Instant, Model
from settings.material import choices, is_sealed, materials, password, wrong
from settings.values import (
    SHORTEST_VALIDITY_HOURS,
    AuthorityName,
    Brought,
    Day,
    EntryName,
    FilePath,
    GenerationState,
    HostName,
    KeyType,
    Network,
    Password,
    Purpose,
    RevocationReason,
    SerialNumber,
    Years,
)

if TYPE_CHECKING:
    from pki.crl import Revoked
    from pki.issue import Permitted
    from pki.rollover import Generations
    from pki.signer import Signer

STACK: Final = "stack"
"""The authority every stack has: it signs for the edge."""
FIRST: Final = "g1"
"""The first generation of an authority, which is there where none is named."""
YEAR_HOURS: Final = 365 * 24
ACTIVE: Final = "active"
TRUSTED: Final = "trusted"
LIVE: Final = frozenset({ACTIVE, TRUSTED})
"""States in which a generation is trusted."""
_STATE: Final = (
    "active: signs, and is trusted; trusted: only trusted; retired and distrusted: neither, and its key is kept. One "
    "after the other, as in docs/pki-rollover.md"
)
_SIGNS: Final = "the certificate of an authority that may sign, with its key"

GenerationName = Annotated[str, StringConstraints(pattern=r"^g[1-9][0-9]{0,2}$")]
RevocationName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]


class Generation(Model):
    """A root of an authority, made here: a key and a certificate of its own. It stays what it was made as."""

    mode: Literal["created"] = "created"
    state: GenerationState = Field(description=_STATE)
    key_type: KeyType = Field(
        default="P384", description="P256, P384, RSA-3072, or Ed25519, which browsers do not take"
    )
    years: Years = Field(default=10, description="Its life in years; it is not renewed, a new generation follows")
    permitted_names: Annotated[tuple[HostName, ...], Field(strict=False)] = Field(
        default=(),
        description="Domains it may sign for, with all below them; by default any. Where these or permitted_addresses "
        "are given it may sign for nothing else (name constraints)",
    )
    permitted_addresses: Annotated[tuple[Network, ...], Field(strict=False)] = Field(
        default=(), description="Addresses and networks it may sign for; by default any, see permitted_names"
    )

    def permitted(self, *, loopback: bool) -> "Permitted":
        """Return what it may sign for; names of this machine itself are in what the edge shows."""
        from pki.issue import Permitted  # a tenth of a second

        return Permitted(names=self.permitted_names, addresses=self.permitted_addresses, loopback=loopback)


class ImportedGeneration(Model):
    """A root or issuing authority that is brought along with its key."""

    mode: Literal["imported"] = "imported"
    state: GenerationState = Field(description=_STATE)
    certificate_file: FilePath | None = Field(
        default=None,
        description="File with its certificate, and of those over it: PEM, DER, PKCS #7, or PKCS #12 with its key",
    )
    certificate: Brought | None = Field(
        default=None, description="The same, encrypted in the stack file: PEM, or anything else in base64"
    )
    key_file: FilePath | None = Field(default=None, description="File with its private key: PEM, DER or PKCS #12")
    key: Brought | None = Field(default=None, description="The same, encrypted in the stack file")
    password: Password | None = Field(default=None, description="Password of the files that have one")

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what is set twice, or not at all."""
        yield from choices(self, "certificate", required="a certificate of an authority")
        yield from choices(self, "key")

    def read(
        self, now: Instant, served: Sequence[str] = (), used_as: str = "server", *, revokes: bool = False
    ) -> "Signer | list[tuple[str, str]] | None":
        """Return who signs for `served` at `now`, or what is wrong; None where it is not decrypted yet.

        What is signed is used as a server, a client, or a peer, which is both. One that `revokes` signs lists as well.
        What is wrong: `certificate` or `key`, and why.
        """
        from pki.client import AUTHORITY  # a tenth of a second, for those who bring one
        from pki.signer import signer

        found, problems = materials(self, ("certificate", "key"))
        if problems:
            return problems
        certificate, key = found["certificate"], found["key"]
        if certificate is None or is_sealed(self.key, self.password):
            return None
        made = signer(
            certificate,
            key,
            password=password(self),
            leaf_hours=SHORTEST_VALIDITY_HOURS,
            served=served,
            now=now,
            used_as=used_as,
            revokes=revokes,
        )
        if isinstance(made, list):
            return [("certificate" if what == AUTHORITY else what, why) for what, why in made]
        return made

    def wrong(
        self, now: Instant, served: Sequence[str] = (), used_as: str = "server", *, revokes: bool = False
    ) -> Iterator[Conflict]:
        """Yield why it cannot sign for `served` at `now`, see `read`."""
        found = self.read(now, served, used_as, revokes=revokes)
        yield from wrong(self, found if isinstance(found, list) else (), _SIGNS)


AnyGeneration: TypeAlias = Annotated[Generation | ImportedGeneration, Field(discriminator="mode")]


class Authority(Model):
    """Who signs certificates for one kind of use."""

    purpose: Purpose = Field(
        default="server",
        description="server: what clients connect to; client: whom relays let in; docker-hosts: Docker daemons and "
        "their few clients, and nothing else, as a daemon obeys whoever shows a certificate of its authority",
    )
    generations: dict[GenerationName, AnyGeneration] = Field(
        default={FIRST: Generation(state=ACTIVE)}, min_length=1, description="Its roots by number, g1 the first"
    )

    @property
    def revokes(self) -> bool:
        """Whether it has lists of what is revoked: servers are let in nowhere, so nobody asks for any of theirs."""
        return self.purpose == "client"

    @property
    def active(self) -> str:
        """The generation that signs."""
        return next(name for name, one in self.generations.items() if one.state == ACTIVE)

    @property
    def life_hours(self) -> int | None:
        """Life of the root that signs; None where it is brought along, or none signs."""
        signs = next((one for one in self.generations.values() if one.state == ACTIVE), None)
        return signs.years * YEAR_HOURS if isinstance(signs, Generation) else None

    @property
    def trusted(self) -> tuple[str, ...]:
        """The generations clients are to trust, by age."""
        names = (name for name, one in self.generations.items() if one.state in LIVE)
        return tuple(sorted(names, key=number_of))

    def conflicts(self) -> Iterator[Conflict]:
        """Yield that none or several sign, and keys that those do not take who rely on it."""
        active = sorted(name for name, one in self.generations.items() if one.state == ACTIVE)
        if len(active) != 1:
            yield Conflict(
                path=("generations",),
                others=tuple(("generations", name, "state") for name in self.generations),
                given=f"{' and '.join(active)} are active" if active else "none is active",
                allowed="one generation that is active",
                remedy="Set its state: pulumi config set --path {path}.<generation>.state <state>",
            )
        for name, one in self.generations.items():
            if self.purpose == "server" and isinstance(one, Generation) and one.key_type == "Ed25519":
                yield Conflict(
                    path=("generations", name, "key_type"),
                    others=(("purpose",),),
                    given="'Ed25519'",
                    allowed="P256, P384 or RSA-3072 for an authority of servers: browsers take no Ed25519",
                    remedy="Set it: pulumi config set --path {path} P384",
                )


def number_of(generation: str) -> int:
    """Return the number of a generation, 1 or more."""
    return int(generation.removeprefix("g"))


Authorities = dict[AuthorityName, Authority]


def record(authorities: Mapping[str, Authority], brought: Mapping[str, Mapping[str, "Signer"]]) -> "Generations":
    """Return what is to be known of generations at the next run: in which state each was, and as what it was made.

    `brought` are those that are brought along, by authority and number.
    """
    from pki.rollover import MADE, STATE  # settings are read without it

    return {
        name: {
            generation: {STATE: one.state, MADE: _made_as(one, brought.get(name, {}).get(generation))}
            for generation, one in authority.generations.items()
        }
        for name, authority in authorities.items()
    }


def _made_as(generation: AnyGeneration, signer: "Signer | None") -> str:
    """Return in words what a root is made as; who signs below it may be renewed, which clients do not see."""
    if isinstance(generation, ImportedGeneration):
        return "brought along" + (f", {signer.anchor}" if signer is not None else "")
    only = ", ".join((*generation.permitted_names, *generation.permitted_addresses))
    return f"{generation.key_type} for {generation.years} years" + (f", {only} only" if only else "")


class Revocation(Model):
    """A certificate that lets nobody in any more."""

    authority: EntryName = Field(description="Which of pki.authorities has signed it; its purpose is client")
    serial: SerialNumber = Field(
        description="Its serial number, hexadecimal, as pki_inventory and openssl x509 -serial show it"
    )
    reason: RevocationReason = Field(default="unspecified", description="Why it is not to be taken any more")
    on: Day = Field(description="Since which day, such as 2026-11-28")

    @property
    def revoked(self) -> "Revoked":
        """The entry of a revocation list; from the first moment of the day."""
        from pki.crl import Revoked  # a tenth of a second, for those who have revoked any

        since = datetime.fromisoformat(self.on).replace(tzinfo=UTC)
        return Revoked(serial=int(self.serial, 16), reason=self.reason, on=since)


Revocations = dict[RevocationName, Revocation]
