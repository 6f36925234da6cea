"""The way out of a network that has a proxy on it."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from settings.base import REMOVE, Conflict, Model
from settings.values import ProxyUrl, ReachedDirectly, Token, Word


class ProxyLogin(Model):
    """A login at the proxies."""

    username: Word = Field(description="User name at the proxies")
    password: Token = Field(description="Password at the proxies")


class Proxy(Model):
    """The HTTP proxy by which containers reach what is outside, if they need one."""

    http: ProxyUrl | None = Field(
        default=None, description="Proxy for http:// addresses, as a container reaches it: http://<host>:<port>"
    )
    https: ProxyUrl | None = Field(default=None, description="Proxy for https:// addresses, most often the same one")
    login: ProxyLogin | None = Field(default=None, description="Login at the proxies, if they want one")
    exclude: Annotated[tuple[ReachedDirectly, ...], Field(strict=False)] = Field(
        default=(),
        description="What is reached without them besides the stack itself: host names, .<domain>, addresses; networks "
        "(10.0.0.0/8) only some programs understand",
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what belongs to a proxy there is none of."""
        for name in ("login", "exclude"):
            if getattr(self, name) and self.http is None and self.https is None:
                yield Conflict(
                    path=(name,),
                    others=(("http",), ("https",)),
                    given="set without a proxy",
                    allowed="only with proxy.http or proxy.https",
                    remedy=REMOVE,
                )
