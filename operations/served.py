"""What certificates are shown to whoever comes from outside: by the edge, by relays, by somebody else."""

import hashlib
import socket
import ssl
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from operations.inventory import Certificate
from settings import Settings

_TIMEOUT_SECONDS: Final = 10
_AT_ONCE: Final = 32


class NotServed(RuntimeError):
    """Nobody could be asked there; the text says where and why."""


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
    edge = settings.edge
    address = _published(edge.bind_addresses, settings)
    return Place(host=address, port=edge.https_port) if address else Place(host=edge.domain, port=edge.url_port)


def _published(addresses: Sequence[str], settings: Settings) -> str:
    """Return the first of `addresses` at which this machine reaches what is published on them; empty if it is none."""
    host = settings.host
    remote = None if host.is_local else urlsplit(host.address).hostname
    for address in addresses:
        if address in {"0.0.0.0", "::"}:
            return remote or ("127.0.0.1" if address == "0.0.0.0" else "::1")
        if remote is None or address not in {"127.0.0.1", "::1"}:
            return address
    return ""


def places_of(certificate: Certificate, settings: Settings, edge: Place) -> list[Place]:
    """Return where a certificate is shown: by the edge, and by relays on ports of their own.

    A relay also uses those of clients it lets in, which it shows to nobody.
    """
    found = [edge] if "edge" in certificate.users else []
    for name in certificate.users.get("relays", ()):
        relay = settings.relays.get(name)
        if relay is not None and relay.certificate == certificate.registered:
            found.append(Place(host=_published(relay.bind_addresses, settings) or edge.host, port=relay.port))
    return found


def shown(place: Place, server_name: str | None, timeout_seconds: float = _TIMEOUT_SECONDS) -> list[bytes]:
    """Return the certificates (DER) shown there to a client that asks for `server_name`: the leaf, then its chain.

    They are looked at, not trusted: whoever is told of a stranger's wants to know them.
    Raises: NotServed.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((place.host, place.port), timeout_seconds) as raw,
            context.wrap_socket(raw, server_hostname=server_name) as secured,
        ):
            found = _chain(secured)
    except OSError as error:
        raise NotServed(f"{place} shows no certificate: {error.strerror or error}") from None
    assert found, "a server without a certificate has shaken hands"
    return found


def _chain(secured: ssl.SSLSocket) -> list[bytes]:
    if sys.version_info >= (3, 13):
        return secured.get_unverified_chain()
    # Where it is not public yet it is there all the same, as certificates that write themselves as PEM.
    socket_of_openssl: Any = secured._sslobj  # type: ignore[attr-defined]  # private before 3.13
    return [ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in socket_of_openssl.get_unverified_chain()]


def shown_at_once(
    asked: Mapping[str, tuple[Place, str | None]], within_seconds: float
) -> Mapping[str, list[bytes] | NotServed]:
    """Return what `shown` does of several by their names, and why of those that do not answer in time."""
    # Looking a host name up has no time limit of ours: who waits for that is left behind.
    pool = ThreadPoolExecutor(min(_AT_ONCE, max(1, len(asked))))
    answers = {name: pool.submit(shown, *one, within_seconds) for name, one in asked.items()}
    wait(answers.values(), within_seconds)
    pool.shutdown(wait=False, cancel_futures=True)
    found: dict[str, list[bytes] | NotServed] = {}
    for name, answer in answers.items():
        if answer.cancelled() or not answer.done():
            place, _ = asked[name]
            found[name] = NotServed(f"{place} shows no certificate: no answer within {within_seconds:g} seconds")
            continue
        try:
            found[name] = answer.result()
        except NotServed as error:
            found[name] = error
    return found


def served(place: Place, server_name: str | None) -> Served:
    """Return the leaf shown there, see `shown`.

    Raises: NotServed.
    """
    return of_der(shown(place, server_name)[0])


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
