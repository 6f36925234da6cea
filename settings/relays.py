"""Relays: TLS, and mutual TLS, in front of anything that speaks HTTP or WebSocket."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Final

from pydantic import Field, StringConstraints

from settings.base import REMOVE, Conflict, Model
from settings.references import ClientAuthorityName, ClientCertificateName, ServerCertificateName
from settings.values import (
    BrowserPort,
    HeaderPrefix,
    HostName,
    HttpUrl,
    IpAddress,
    MemoryMib,
    WebSocketHours,
    host_of,
)

RelayName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
SERVICE_PREFIX: Final = "relay-"
"""What the names of relays' services begin with, and no other service's does."""


class Relay(Model):
    """A relay with a port of its own."""

    IMAGES: ClassVar = ("caddy",)

    upstream: HttpUrl = Field(
        description="URL of what it stands in front of: a service of the stack, such as http://server:1250, or what is "
        "elsewhere"
    )
    upstream_name: HostName | None = Field(
        default=None, description="Name in the certificate of an https upstream, where it is not the host of the URL"
    )
    port: BrowserPort = Field(description="Published port, which no other relay and not the edge has")
    bind_addresses: Annotated[tuple[IpAddress, ...], Field(strict=False, min_length=1)] = Field(
        default=("0.0.0.0",), description="Addresses of the Docker host on which it publishes its port"
    )
    certificate: ServerCertificateName = Field(description="Which of pki.certificates it shows")
    client_authority: ClientAuthorityName | None = Field(
        default=None,
        description="Which of pki.authorities clients need a certificate of; by default they need none, or one of the "
        "authorities that certificate was brought with (its client_authority)",
    )
    allow: Annotated[tuple[ClientCertificateName, ...], Field(strict=False)] = Field(
        default=(),
        description="Which of pki.certificates are let in; by default all that client_authority signed, or what came "
        "with certificate, and that are not revoked",
    )
    identity_headers: HeaderPrefix = Field(
        default="X-Client-Certificate",
        description="Beginning of the headers by which the upstream learns whose certificate it is: -Subject, -Issuer, "
        "-Serial, -Fingerprint, -Public-Key; what clients send under such names is dropped",
    )
    websocket_hours: WebSocketHours = Field(
        default=12, description="Longest life of a WebSocket in hours, whatever changes meanwhile"
    )
    memory_mib: MemoryMib = Field(default=128, description="Memory limit in MiB")

    @property
    def upstream_host(self) -> str:
        """Host of the upstream; empty while that is encrypted."""
        return host_of(self.upstream) if isinstance(self.upstream, str) else ""

    def conflicts(self) -> Iterator[Conflict]:
        """Yield a name nobody looks at."""
        if self.upstream_name is not None and not str(self.upstream).startswith("https://"):
            yield Conflict(
                path=("upstream_name",),
                others=(("upstream",),),
                given=repr(self.upstream_name),
                allowed="nothing: upstream is no https URL, and shows no certificate",
                remedy=REMOVE,
            )


Relays = dict[RelayName, Relay]
