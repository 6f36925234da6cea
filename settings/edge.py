"""The edge: what is reachable from outside, and by which names."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address
from typing import Annotated, ClassVar

from pydantic import Field

from rendering.caddyfile import LOOPBACK_PORT, bracketed, is_address
from settings.base import REMOVE, Conflict, Model
from settings.values import BrowserPort, EdgeDomain, IpAddress, MemoryMib, ProxyNetwork, SubjectAlternativeName


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the edge serves something besides the application."""

    domain: str
    """Name or address."""
    url: str
    """The same as a URL, without a trailing slash."""
    own_port: int | None
    """The HTTPS port that is its own; None where its name tells it apart."""


class Edge(Model):
    """Caddy, the only service with published ports."""

    SERVICES: ClassVar = ("caddy",)
    IMAGES: ClassVar = ("caddy",)

    domain: EdgeDomain = Field(
        default="reflector.localhost",
        description="Host name people use; must resolve to the Docker host for them. Or, where there is no name, the "
        "address of the Docker host",
    )
    extra_names: Annotated[tuple[SubjectAlternativeName, ...], Field(strict=False)] = Field(
        default=(),
        description="Further names and addresses of the edge, each DNS:<name> or IP:<address>; they enter the "
        "certificate, the API answers there, and pages lead from there to the domain",
    )
    bind_addresses: Annotated[tuple[IpAddress, ...], Field(strict=False, min_length=1)] = Field(
        default=("0.0.0.0",), description="Addresses of the Docker host on which Caddy publishes its ports"
    )
    https_port: BrowserPort = Field(
        default=443, description="Published HTTPS port (TCP for HTTP/1.1 and HTTP/2, UDP for HTTP/3)"
    )
    http_port: BrowserPort = Field(
        default=80,
        description="Published HTTP port; it redirects to HTTPS, and offers the authority's certificate at /trust",
    )
    public_port: BrowserPort | None = Field(
        default=None,
        description="HTTPS port in the URL people see, where a router or tunnel leads from it to https_port; "
        "by default https_port itself",
    )
    trusted_proxies: Annotated[tuple[ProxyNetwork, ...], Field(strict=False)] = Field(
        default=(),
        description="Addresses and networks of proxies and load balancers in front; theirs is the only word on a "
        "client's address that counts",
    )
    proxy_protocol: bool = Field(
        default=False,
        description="Whether trusted_proxies pass connections on as they are, with the client's address before them "
        "(PROXY protocol, version 1 or 2)",
    )
    memory_mib: MemoryMib = Field(default=512, description="Memory limit of Caddy in MiB")

    @property
    def url_port(self) -> int:
        """The port in the URLs people see."""
        return self.https_port if self.public_port is None else self.public_port

    @property
    def has_name(self) -> bool:
        """Whether people use a name; if not, the domain is an address."""
        return not is_address(self.domain)

    def url(self, host: str, port: int | None = None) -> str:
        """Return the URL of `host` as people see it, without a trailing slash; by `port`, if it is none of these."""
        port = self.url_port if port is None else port
        return f"https://{bracketed(host)}" + ("" if port == 443 else f":{port}")

    @property
    def origins(self) -> tuple[str, ...]:
        """Origins of the pages people open: the domain, also where somebody uses the published port past the router."""
        return tuple(dict.fromkeys((self.url(self.domain), self.url(self.domain, self.https_port))))

    @property
    def names(self) -> tuple[str, ...]:
        """DNS names of the application that were set, the domain first where it is one."""
        extra = (name.removeprefix("DNS:") for name in self.extra_names if name.startswith("DNS:"))
        return tuple(dict.fromkeys((*((self.domain,) if self.has_name else ()), *extra)))

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses of the application that were set, the domain first where it is one."""
        extra = (name.removeprefix("IP:") for name in self.extra_names if name.startswith("IP:"))
        return tuple(dict.fromkeys((*(() if self.has_name else (self.domain,)), *extra)))

    def conflicts(self) -> Iterator[Conflict]:
        """Yield ports that meet, addresses that another one covers, and proxies that are nobody or everybody."""
        yield from self._proxy_conflicts()
        if not self.has_name:
            yield from self._address_conflicts()
        for name in ("http_port", "https_port" if self.public_port is None else "public_port"):
            if getattr(self, name) == LOOPBACK_PORT:
                yield Conflict(
                    path=(name,),
                    given=str(LOOPBACK_PORT),
                    allowed="another port: Caddy listens on it for itself",
                    remedy="Set it: pulumi config set --path {path} <port>",
                )
        for name in ("https_port", "public_port"):
            if getattr(self, name) == self.http_port:
                yield Conflict(
                    path=("http_port",),
                    others=((name,),),
                    given=f"{self.http_port}, as {name}",
                    allowed="two different ports",
                    remedy="Set it: pulumi config set --path {path} <port>",
                )
        for index, address in enumerate(self.bind_addresses):
            wildcard = "::" if ":" in address else "0.0.0.0"
            if address != wildcard and wildcard in self.bind_addresses:
                yield Conflict(
                    path=("bind_addresses", index),
                    others=(("bind_addresses",),),
                    given=f"{address!r}, besides {wildcard}",
                    allowed="what stands for all addresses of a kind, or single ones",
                    remedy=REMOVE,
                )

    def _address_conflicts(self) -> Iterator[Conflict]:
        """Yield what keeps containers from the edge, to whom an address is what it is to everybody."""
        if self.public_port is not None and self.public_port != self.https_port:
            yield Conflict(
                path=("public_port",),
                others=(("domain",),),
                given=f"{self.public_port}, while domain is {self.domain!r}",
                allowed="nothing beside an address: containers get to the edge by it as well, through the port that is "
                "published on the Docker host",
                remedy=REMOVE,
            )
        bound = [ip_address(one) for one in self.bind_addresses]
        if not any(one.version == ip_address(self.domain).version and not one.is_loopback for one in bound):
            kind, example = ("IPv6", "::") if ":" in self.domain else ("IPv4", "0.0.0.0")
            yield Conflict(
                path=("bind_addresses",),
                others=(("domain",),),
                given=f"{', '.join(self.bind_addresses)}, while domain is {self.domain!r}",
                allowed=f"an {kind} address others reach the Docker host by, or {example}",
                remedy=f"Set it: pulumi config set --path '{{path}}[0]' {example}",
            )

    def _proxy_conflicts(self) -> Iterator[Conflict]:
        if self.proxy_protocol and not self.trusted_proxies:
            yield Conflict(
                path=("trusted_proxies",),
                others=(("proxy_protocol",),),
                given="nothing, while proxy_protocol is true",
                allowed="the addresses of the proxies that speak it: of others it is refused",
                remedy="Set it: pulumi config set --path '{path}[0]' <address>",
            )
        of_ipv4 = collapse_addresses(IPv4Network(one) for one in self.trusted_proxies if ":" not in one)
        of_ipv6 = collapse_addresses(IPv6Network(one) for one in self.trusted_proxies if ":" in one)
        if any(one.prefixlen == 0 for one in of_ipv4) or any(one.prefixlen == 0 for one in of_ipv6):
            # No single one is: that is said of its value.
            yield Conflict(
                path=("trusted_proxies",),
                given="networks that together are all there are",
                allowed="the networks your proxies are in: anybody could name another's address",
                remedy=REMOVE,
            )
