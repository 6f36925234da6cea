"""The private PKI: who signs, what is issued by name, and for how long."""

from collections.abc import Iterator
from dataclasses import replace

from pydantic import Field

from settings.authorities import (
    LIVE,
    STACK,
    YEAR_HOURS,
    Authorities,
    Authority,
    Generation,
    ImportedGeneration,
    Revocations,
)
from settings.base import REMOVE, Conflict, Instant, Model
from settings.registry import Certificates, External, Fleet, Imported, Issued, registry_conflicts
from settings.values import SHORTEST_VALIDITY_HOURS, RekeyDays, RenewalHours, ValidityHours


class Pki(Model):
    """Authorities, certificates by name, and how long they live."""

    authorities: Authorities = Field(
        default={}, description=f"Authorities by name; one called {STACK}, which signs for the edge, is always there"
    )
    certificates: Certificates = Field(default={}, description="Certificates by name, for what uses them by it")
    revocations: Revocations = Field(
        default={}, description="Certificates of clients that let nobody in any more, by labels of your own"
    )
    fleet: Fleet = Field(default=Fleet(), description="Certificates for many services, a line for each")
    certificate_validity_hours: ValidityHours = Field(
        default=90 * 24, description="Life of a certificate the private authority issues, in hours"
    )
    renewal_hours: RenewalHours = Field(
        default=30 * 24, description="Time in hours before its end in which any `up` issues a new one"
    )
    rekey_days: RekeyDays = Field(
        default=360, description="Age in days from which `make up` and `make renew` make a new key with a renewal"
    )

    @property
    def every_authority(self) -> dict[str, Authority]:
        """All authorities by name, that of the stack first."""
        return {STACK: Authority(), **self.authorities}

    @property
    def every_certificate(self) -> dict[str, Issued | Imported | External]:
        """The whole registry by name, that of the fleet with it."""
        return {**self.certificates, **self.fleet.certificates}

    def hours_of(self, certificate: Issued) -> tuple[int, int]:
        """Return for how many hours one is issued, and in how many before its end it is renewed."""
        return (
            certificate.validity_hours or self.certificate_validity_hours,
            certificate.renewal_hours or self.renewal_hours,
        )

    def used_as(self, authority: str) -> str:
        """Return what an authority signs for: server, client, or peer, which is both."""
        kinds = {one.kind for one in self.every_certificate.values()
                 if isinstance(one, Issued) and one.authority == authority}  # fmt: skip
        purpose = self.every_authority[authority].purpose
        kinds |= {"client"} if purpose == "client" else {"server"} if authority == STACK or not kinds else set()
        return next(iter(kinds)) if len(kinds) == 1 else "peer"

    def conflicts_at(self, now: Instant) -> Iterator[Conflict]:
        """Yield authorities that are brought along and cannot sign at `now`; of one that is given up nobody cares."""
        for name, authority in self.every_authority.items():
            for generation, one in authority.generations.items():
                if isinstance(one, ImportedGeneration) and one.state in LIVE:
                    for conflict in one.wrong(now, used_as=self.used_as(name), revokes=authority.revokes):
                        path = ("authorities", name, "generations", generation, *conflict.path)
                        yield replace(conflict, path=path)

    def conflicts(self) -> Iterator[Conflict]:
        """Yield a renewal that would be due at once, at every run, and what is wrong with authorities and registry."""
        yield from self._authority_conflicts()
        hours = (self.certificate_validity_hours, self.renewal_hours)
        yield from registry_conflicts(self.certificates, self.fleet, self.every_authority, hours)
        if self.renewal_hours >= self.certificate_validity_hours:
            yield Conflict(
                path=("renewal_hours",),
                others=(("certificate_validity_hours",),),
                given=f"{self.renewal_hours}, while certificate_validity_hours is {self.certificate_validity_hours}",
                allowed="less than certificate_validity_hours",
                remedy="Set it: pulumi config set --path {path} <hours>",
            )

    def _authority_conflicts(self) -> Iterator[Conflict]:
        stack = self.every_authority[STACK]
        if stack.purpose != "server":
            yield Conflict(
                path=("authorities", STACK, "purpose"),
                given=repr(stack.purpose),
                allowed="server: it signs for the edge",
                remedy=REMOVE,
            )
        for name, authority in self.every_authority.items():
            for generation, one in authority.generations.items():
                if isinstance(one, Generation) and one.years * YEAR_HOURS < self.certificate_validity_hours:
                    yield Conflict(
                        path=("authorities", name, "generations", generation, "years"),
                        others=(("certificate_validity_hours",),),
                        given=f"{one.years}, and what it signs lives for {self.certificate_validity_hours} hours",
                        allowed="a longer life than that of what it signs",
                        remedy="Set it: pulumi config set --path {path} <years>",
                    )
        clients = sorted(name for name, one in self.every_authority.items() if one.revokes)
        for label, revocation in self.revocations.items():
            if revocation.authority not in clients:
                yield Conflict(
                    path=("revocations", label, "authority"),
                    others=(("authorities", revocation.authority),),
                    given=repr(revocation.authority),
                    allowed=f"an authority with the purpose client: {', '.join(clients) or 'there is none'}",
                    remedy="Set it: pulumi config set --path {path} <authority>",
                )


def fitting_hours(settings: Pki, ends: Instant, now: Instant) -> tuple[int, int]:
    """Return the life in hours of a leaf that ends before its authority does, and in how many before it is renewed.

    The life is what is set, halved until it fits: in steps, so that a leaf is issued anew a few times before the
    authority's end, and not at every run.
    """
    left = (ends - now).total_seconds() / 3600
    hours = settings.certificate_validity_hours
    while hours > max(left, SHORTEST_VALIDITY_HOURS):
        hours = max(hours // 2, SHORTEST_VALIDITY_HOURS)
    if hours == settings.certificate_validity_hours:
        return hours, settings.renewal_hours
    return hours, min(settings.renewal_hours, hours // 3)
