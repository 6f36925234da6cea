"""The authorities of the stack: who signs, for what purpose, and which of their roots are trusted."""

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from settings.base import Model
from settings.values import GenerationState, Purpose, Years

STACK: Final = "stack"
"""The authority every stack has: it signs for the edge."""
FIRST: Final = "g1"
"""The first generation of an authority, which is there where none is named."""

AuthorityName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
GenerationName = Annotated[str, StringConstraints(pattern=r"^g[1-9][0-9]{0,2}$")]


class Generation(Model):
    """A root of an authority: a key and a certificate of its own."""

    state: GenerationState = Field(
        description="active: signs, and is trusted; trusted: only trusted; retired and distrusted: neither, and its "
        "key stays"
    )


class Authority(Model):
    """Who signs certificates for one kind of use."""

    purpose: Purpose = Field(
        default="server",
        description="server: what clients connect to; client: whom relays let in; docker-hosts: Docker daemons and "
        "their few clients, and nothing else, as a daemon obeys whoever shows a certificate of its authority",
    )
    years: Years = Field(default=10, description="Life of a root in years; it is not renewed, a new generation follows")
    generations: dict[GenerationName, Generation] = Field(
        default={FIRST: Generation(state="active")}, min_length=1, description="Its roots by number, g1 the first"
    )

    @property
    def active(self) -> str:
        """The generation that signs."""
        return next(name for name, one in self.generations.items() if one.state == "active")

    @property
    def trusted(self) -> tuple[str, ...]:
        """The generations clients are to trust, by age."""
        names = (name for name, one in self.generations.items() if one.state in {"active", "trusted"})
        return tuple(sorted(names, key=number_of))


def number_of(generation: str) -> int:
    """Return the number of a generation, 1 or more."""
    return int(generation.removeprefix("g"))


Authorities = dict[AuthorityName, Authority]
