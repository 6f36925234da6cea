"""Relays: TLS, and mutual TLS, in front of anything that speaks HTTP or WebSocket."""

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from settings.base import Model
from settings.references import ClientAuthorityName, ServerCertificateName
from settings.values import BrowserPort, HttpUrl, MemoryMib

RelayName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]


class Relay(Model):
    """A relay with a port of its own."""

    IMAGES: ClassVar = ("caddy",)

    upstream: HttpUrl = Field(description="URL of what it stands in front of")
    port: BrowserPort = Field(description="Published port, which no other relay and not the edge has")
    certificate: ServerCertificateName = Field(description="Which of pki.certificates it shows")
    client_authority: ClientAuthorityName | None = Field(
        default=None, description="Which of pki.authorities clients need a certificate of; by default they need none"
    )
    memory_mib: MemoryMib = Field(default=128, description="Memory limit in MiB")


Relays = dict[RelayName, Relay]
