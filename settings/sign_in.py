"""Who may use Reflector."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from settings.base import Model
from settings.values import Email


class Password(Model):
    """One administrator with a generated password."""

    mode: Literal["password"] = "password"
    admin_email: Email | None = Field(
        default=None, description="Login name of the administrator; by default admin@<domain>"
    )


class Public(Model):
    """Open to everybody who reaches it: Reflector's public mode, which deletes anonymous transcripts after 7 days."""

    mode: Literal["public"] = "public"


SignIn: TypeAlias = Annotated[Password | Public, Field(discriminator="mode")]
