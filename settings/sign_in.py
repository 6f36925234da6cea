"""Who may use Reflector."""

from collections.abc import Iterator
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from settings.base import Conflict, Model
from settings.values import Days, Email

RETENTION_DAYS: Final = 7
"""PUBLIC_DATA_RETENTION_DAYS by default (reflector/settings.py, v0.45.0)."""


class Password(Model):
    """One administrator with a generated password."""

    mode: Literal["password"] = "password"
    admin_email: Email | None = Field(
        default=None, description="Login name of the administrator; by default admin@<domain>"
    )


class Public(Model):
    """Open to everybody who reaches it: nobody signs in."""

    mode: Literal["public"] = "public"
    everybody_reads_everything: bool = Field(
        default=False,
        description="Has to be true: everybody who reaches it is shown every transcript, those that were private "
        "before among them",
    )
    anonymous_retention_days: Days = Field(
        default=RETENTION_DAYS,
        description="Days after which a transcript that nobody owns, as all are made here, is deleted",
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield a word of warning until somebody has taken it."""
        if not self.everybody_reads_everything:
            yield Conflict(
                path=("everybody_reads_everything",),
                given="false",
                allowed="true, as everybody who reaches it is shown every transcript, private ones of before "
                f"among them, and what is made here is deleted after "
                f"{RETENTION_DAYS} days (sign_in.anonymous_retention_days)",
                remedy="If that is meant: pulumi config set --path {path} true",
            )


SignIn: TypeAlias = Annotated[Password | Public, Field(discriminator="mode")]
