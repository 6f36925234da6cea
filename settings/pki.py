"""The private authority and what it issues."""

from collections.abc import Iterator

from pydantic import Field

from settings.base import Conflict, Instant, Model
from settings.values import SHORTEST_VALIDITY_HOURS, RenewalHours, ValidityHours


class Pki(Model):
    """How long certificates live."""

    certificate_validity_hours: ValidityHours = Field(
        default=90 * 24, description="Life of a certificate the private authority issues, in hours"
    )
    renewal_hours: RenewalHours = Field(
        default=30 * 24, description="Time in hours before its end in which any `up` issues a new one"
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield a renewal that would be due at once, at every run."""
        if self.renewal_hours >= self.certificate_validity_hours:
            yield Conflict(
                path=("renewal_hours",),
                others=(("certificate_validity_hours",),),
                given=f"{self.renewal_hours}, while certificate_validity_hours is {self.certificate_validity_hours}",
                allowed="less than certificate_validity_hours",
                remedy="Set it: pulumi config set --path {path} <hours>",
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
