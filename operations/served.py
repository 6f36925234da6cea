"""What certificate the edge shows to whoever comes from outside."""

import hashlib
import socket
import ssl
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from operations.inventory import Certificate
from settings import Settings

_TIMEOUT_SECONDS: Final = 10


class NotServed(RuntimeError):
    """The edge could not be asked; the text says where and why."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where somebody listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @staticmethod
    def of(text: str) -> "Place":
        """Return what `<host>:<port>` or `[<address>]:<port>` names.

        Raises: ValueError.
        """
        parts = urlsplit(f"//{text}")
        if not parts.hostname or parts.port is None or parts.path or parts.username:
            raise ValueError(f"{text!r} is not <host>:<port>")
        return Place(host=parts.hostname, port=parts.port)


@dataclass(frozen=True, kw_only=True)
class Served:
    """A leaf as it was shown."""

    fingerprint: str
    """SHA-256 of its DER, hexadecimal."""
    starts: datetime
    expires: datetime


def edge_of(settings: Settings) -> Place:
    """Return where the edge listens as this machine sees it: a published address, else the name people use."""
    edge, host = settings.edge, settings.host
    remote = None if host.is_local else urlsplit(host.address).hostname
    for address in edge.bind_addresses:
        if address in {"0.0.0.0", "::"}:
            own = "127.0.0.1" if address == "0.0.0.0" else "::1"
            return Place(host=remote or own, port=edge.https_port)
        if remote is None or address not in {"127.0.0.1", "::1"}:
            return Place(host=address, port=edge.https_port)
    return Place(host=edge.domain, port=edge.url_port)


def places_of(certificate: Certificate, settings: Settings, edge: Place) -> list[Place]:
    """Return where a certificate is shown: by the edge, and by relays on ports of their own.

    A relay also uses those of clients it lets in, which it shows to nobody.
    """
    found = [edge] if "edge" in certificate.users else []
    for name in certificate.users.get("relays", ()):
        relay = settings.relays.get(name)
        if relay is not None and relay.certificate == certificate.registered:
            found.append(Place(host=edge.host, port=relay.port))
    return found


def served(place: Place, server_name: str | None) -> Served:
    """Return the leaf shown there to a client that asks for `server_name`.

    It is looked at, not trusted: whoever is told of a stranger's leaf wants to know it.
    Raises: NotServed.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((place.host, place.port), _TIMEOUT_SECONDS) as raw,
            context.wrap_socket(raw, server_hostname=server_name) as secured,
        ):
            der = secured.getpeercert(binary_form=True)
    except OSError as error:
        raise NotServed(f"{place} shows no certificate: {error.strerror or error}") from None
    assert der is not None, "a server without a certificate has shaken hands"
    return of_der(der)


def of_der(der: bytes) -> Served:
    """Return what a leaf in DER is."""
    from pki.pem import der_certificate  # a tenth of a second, for those who look at one

    leaf = der_certificate(der)
    return Served(
        fingerprint=hashlib.sha256(der).hexdigest(),
        starts=leaf.not_valid_before_utc,
        expires=leaf.not_valid_after_utc,
    )


def of_pem(pem: str) -> Served:
    """Return what the first certificate in `pem` is."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from pki.pem import certificates

    return of_der(certificates(pem.encode())[0].public_bytes(Encoding.DER))
