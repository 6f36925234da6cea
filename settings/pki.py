"""The private authority and what it issues."""

from collections.abc import Iterator

from pydantic import Field

from settings.base import Conflict, Model
from settings.values import RenewalHours, ValidityHours


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
