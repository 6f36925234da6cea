"""All certificates held against what clients do: chain, names, dates, uses; and where they are shown, by a request.

With TLS 1.3 a handshake succeeds on the client's side whatever the server thinks of its certificate: only an answer
to a request shows that it was let in, so nothing here counts as fine without one.
"""

import argparse
import json
import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from components.base.daemon import Daemon, DaemonError
from operations import container_providers, host_trust, inventory, pki_material
from operations.client_files import client_files
from operations.healing import Resource
from operations.inventory import Certificate, Level
from operations.served import NotServed, Place, of_der, of_pem, places_of, shown
from operations.stack import Stack
from settings import Settings, masked
from settings.hosts import MAIN
from settings.registry import Issued, covered, resource_name

if TYPE_CHECKING:
    from pki.server import ServerCertificate

_TIMEOUT_SECONDS: Final = 10
_ANSWER: Final = b"HTTP/"
_START: Final = 64  # bytes, in which that is


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found of a certificate."""

    name: str
    what: str
    fine: bool


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of a request."""

    refused: str
    """Why there was no answer; empty if there was one."""
    der: bytes
    """The leaf that was shown; empty where it never came to that."""
    spoke: bool = True
    """Whether there was anybody who speaks TLS."""


def verify(stack: Stack, settings: Settings, arguments: argparse.Namespace) -> int:
    """Print what was found, and return the exit status: 0 fine, 2 something is not.

    Raises: NoStatus, StateError, CalledProcessError.
    """
    resources = inventory.resources_of(stack)
    found = pki_material.certificates(stack, settings, arguments.at)
    edge = pki_material.place_of(settings, arguments.at)
    findings = list(_findings(stack, settings, found, resources, edge))
    for one in findings:
        print(masked(f"{'ok  ' if one.fine else 'FAIL'}  {one.name}: {one.what}", settings.encrypted))
    bad = sum(not one.fine for one in findings)
    print(f"{stack.name}: {len(findings) - bad} fine, {bad} not")
    return Level.CRITICAL if bad else Level.OK


def _findings(
    stack: Stack,
    settings: Settings,
    found: Sequence[Certificate],
    resources: Sequence[Resource],
    edge: Place,
) -> Iterator[Finding]:
    now = datetime.now(UTC)
    anchors = _anchors(settings, found, resources)
    for one in found:
        if one.is_authority:
            yield from _of_an_authority(one, resources, now)
            continue
        if one.is_list:
            yield _of_a_list(one, now)
            continue
        chain = _chain(one, settings, resources)
        if one.endpoint:
            yield from _of_an_endpoint(one, now)
        elif chain is not None:
            above = pki_material.roots(found, resources, one.authority) if one.authority else ""
            problems = list(_problems(one, chain, above, now))
            if one.is_revoked:
                problems.append(f"revoked: {one.authority} has its serial number {one.serial} in its list; pki rotate")
            yield from (Finding(name=one.called, what=problem, fine=False) for problem in problems)
            if not problems:
                yield Finding(name=one.called, what="chain, names, dates and use", fine=True)
        for place in places_of(one, settings, edge):
            yield from _shown(stack, settings, one, chain, place, anchors, is_edge=place == edge)
    if settings.container_providers:
        yield from _of_container_providers(stack, settings, now)
    yield from _of_the_host(settings, resources)


def _of_container_providers(stack: Stack, settings: Settings, now: datetime) -> Iterator[Finding]:
    """Yield what is found of each, by what was handed over of it."""
    outputs = json.loads(stack.ask("stack", "output", "--json", "--show-secrets"))
    deployed = outputs.get("container_providers") or {}
    for name in settings.container_providers:
        called = f"container provider {name}"
        if name not in deployed:
            yield Finding(name=called, what=f"not deployed; make up STACK={stack.name}", fine=False)
            continue
        for what, fine in container_providers.findings(deployed[name], now):
            yield Finding(name=called, what=what, fine=fine)


def _of_the_host(settings: Settings, resources: Sequence[Resource]) -> Iterator[Finding]:
    """Yield what the Docker host itself was told to trust, and whether it does."""
    daemon = Daemon(address=settings.host.address, certificates=settings.host.certificates or "")
    try:
        for what, fine in host_trust.findings(settings, daemon, resources):
            yield Finding(name=f"hosts.{MAIN}", what=what, fine=fine)
    except DaemonError as error:
        yield Finding(name=f"hosts.{MAIN}", what=f"cannot be asked whom it trusts: {error}", fine=False)


def _chain(one: Certificate, settings: Settings, resources: Sequence[Resource]) -> str | None:
    read: ServerCertificate | None = None
    if one.source == "own":
        read = settings.own
    elif one.registered:
        read = settings.registered.imported.get(one.registered) or settings.registered.external.get(one.registered)
    return read.chain if read is not None else pki_material.chain_of(one, resources)


def _of_an_authority(one: Certificate, resources: Sequence[Resource], now: datetime) -> Iterator[Finding]:
    from pki import pem
    from pki.chain import defects

    text = pki_material.chain_of(one, resources)
    if text is None:  # one that was brought to sign: its own are held against it below
        return
    root = pem.certificates(text.encode())[0]
    problems = list(defects(root, 0, now, is_root=True, used_as=_kinds_of(one)))
    yield from (Finding(name=one.called, what=problem, fine=False) for problem in problems)
    if not problems:
        yield Finding(name=one.called, what="dates and use", fine=True)


def _of_a_list(one: Certificate, now: datetime) -> Finding:
    assert one.expires is not None, "a list without a next update is none of ours"
    if one.expires <= now:
        what = f"out of date since {one.expires:%Y-%m-%d %H:%M} UTC, so whoever checks it refuses everybody; make renew"
        return Finding(name=one.called, what=what, fine=False)
    return Finding(name=one.called, what=f"in date, {one.told}", fine=True)


def _kinds_of(one: Certificate) -> str:
    return "client" if one.purpose == "client" else "server"


def _problems(one: Certificate, chain: str, above: str, now: datetime) -> Iterator[str]:
    """Yield why clients that trust `above` (PEM) refuse a chain (PEM), whatever it is."""
    from pki import facts, pem
    from pki.server import server_certificate

    read = server_certificate(
        f"{chain}{above}".encode(), None, served=covered(one.names), now=now, used_as=one.kind, keyless=True
    )
    if isinstance(read, list):
        yield from (reason for _, reason in read)
        return
    trusted = pem.certificates(above.encode()) if above else []
    if trusted and (not read.root or pem.certificates(read.root.encode())[0] not in trusted):
        last = pem.certificates(chain.encode())[-1]
        yield f"not signed by {one.authority}, but by {facts.shown(last.issuer)}"
    if one.sha256 and read.fingerprint != one.sha256:
        yield f"another one than the inventory has: {read.fingerprint}; make up"


def _of_an_endpoint(one: Certificate, now: datetime) -> Iterator[Finding]:
    from pki import pem
    from pki.server import leaf_problems

    place = Place.of(one.endpoint)
    try:
        der, *_ = shown(place, one.server_name)
    except NotServed as error:
        yield Finding(name=one.called, what=str(error), fine=False)
        return
    leaf = pem.der_certificate(der)
    problems = list(leaf_problems(leaf, covered(one.names), now, for_browsers=False, used_as=one.kind))
    yield from (Finding(name=one.called, what=f"at {place}: {problem}", fine=False) for problem in problems)
    if not problems:
        yield Finding(name=one.called, what=f"names, dates and use, as {place} shows it", fine=True)


# --- Where they are shown ---------------------------------------------------------------------------------------------


def _anchors(settings: Settings, found: Sequence[Certificate], resources: Sequence[Resource]) -> str:
    """Return whom a client of this stack trusts besides the public authorities, PEM."""
    brought = [settings.own.root if settings.own is not None else ""]
    if settings.signer is not None:
        brought.append(settings.signer.root or settings.signer.certificate)
    brought += [one.root for one in settings.registered.imported.values()]
    servers = [one for one in found if one.purpose == "server"]
    return "".join(filter(None, [pki_material.roots(servers, resources), *brought, *settings.trusted_certificates]))


def _shown(
    stack: Stack,
    settings: Settings,
    one: Certificate,
    chain: str | None,
    place: Place,
    anchors: str,
    *,
    is_edge: bool,
) -> Iterator[Finding]:
    relay = next((relay for relay in settings.relays.values() if relay.port == place.port and not is_edge), None)
    authority = relay.client_authority if relay is not None else None
    if relay is None or (authority is None and not settings.brings_its_clients(relay)):
        yield _finding(one, chain, place, asked(place, one, anchors))
        return
    stranger = asked(place, one, anchors)
    if not stranger.spoke:
        yield _finding(one, chain, place, stranger)
        return
    told = f"{place} refuses who has no certificate ({stranger.refused})"
    if not stranger.refused:
        told = (
            f"{place} lets in who has no certificate, though {authority or 'what came with it'} is to say who comes in"
        )
    yield Finding(name=one.called, what=told, fine=bool(stranger.refused))
    client = _client_of(authority, settings) if authority is not None else None
    if client is None:
        yield Finding(
            name=one.called,
            what=f"{place} was not asked as a client: pki.certificates has none that "
            f"{authority or 'an authority that came with it'} signed",
            fine=True,
        )
        return
    resources = pki_material.opened(stack)
    _, key = pki_material.issue_of(client.name, resources)
    with client_files(pki_material.private_key(key), pki_material.chain_of(client, resources) or "") as files:
        yield _finding(one, chain, place, asked(place, one, anchors, client=files), who=f" to {client.called}")


def _client_of(authority: str, settings: Settings) -> Certificate | None:
    """Return a client the registry has of an authority, as the inventory would name it."""
    for name, one in settings.pki.every_certificate.items():
        if isinstance(one, Issued) and one.authority == authority and one.kind in {"client", "peer"}:
            return Certificate(name=resource_name(name), kind=one.kind, source="issued", registered=name)
    return None


def _finding(one: Certificate, chain: str | None, place: Place, answer: Answer, who: str = "") -> Finding:
    what = f"{place} answers{who} with it"
    if answer.refused:
        what = f"{place} does not answer{who}: {answer.refused}"
    elif chain is not None and of_der(answer.der).fingerprint != of_pem(chain).fingerprint:
        what = f"{place} shows another certificate than the one issued; make up"
        return Finding(name=one.called, what=what, fine=False)
    return Finding(name=one.called, what=what, fine=not answer.refused)


def asked(place: Place, one: Certificate, anchors: str, client: tuple[Path, Path] | None = None) -> Answer:
    """Return what comes of a request for the first name of `one`, by somebody who trusts `anchors` and the public.

    `client` are files with the certificate and the key that are shown.
    """
    context = ssl.create_default_context()
    if anchors:
        context.load_verify_locations(cadata=anchors)
    name = one.server_name
    address = next((each.partition(":")[2] for each in one.names if each.startswith("IP:")), place.host)
    if client is not None:
        context.load_cert_chain(*client)
    der = b""
    try:
        with (
            socket.create_connection((place.host, place.port), _TIMEOUT_SECONDS) as raw,
            context.wrap_socket(raw, server_hostname=name or address) as secured,
        ):
            der = secured.getpeercert(binary_form=True) or b""
            secured.sendall(f"GET / HTTP/1.1\r\nHost: {name or address}\r\nConnection: close\r\n\r\n".encode())
            start = secured.recv(_START)
    except OSError as error:
        why = str(getattr(error, "reason", None) or error.strerror or error)
        # Whose certificate is not trusted has said nothing of who comes in.
        told = not isinstance(error, ssl.SSLCertVerificationError) and (bool(der) or isinstance(error, ssl.SSLError))
        return Answer(refused=why, der=der, spoke=told)
    return Answer(refused="" if start.startswith(_ANSWER) else "it ends the connection", der=der)
