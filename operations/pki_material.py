"""Certificates and keys as the inventory and the state have them."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from operations import inventory, renewal
from operations.healing import Resource, of_type
from operations.inventory import Certificate
from operations.resource_types import AUTHORITY_TYPE, CERTIFICATE_TYPE, KEY_TYPE
from operations.served import Place, edge_of
from operations.stack import Stack
from operations.state import StateError
from operations.status import NoStatus
from settings import Settings


def certificates(stack: Stack, settings: Settings, at: str | None = None) -> list[Certificate]:
    """Return all certificates of a deployed stack, those the edge ordered with what it shows.

    Raises: NoStatus, StateError.
    """
    found = inventory.read(stack, settings, inventory.resources_of(stack))
    if not found:
        raise NoStatus(f"the stack {stack.name} is not deployed; make up STACK={stack.name}")
    edge = place_of(settings, at)
    return [_seen(one, edge) for one in found if one.kind != inventory.TOKEN]


def _seen(certificate: Certificate, edge: Place) -> Certificate:
    if certificate.expires is not None:
        return certificate
    return renewal.as_served(certificate, Place.of(certificate.endpoint) if certificate.endpoint else edge)


def place_of(settings: Settings, at: str | None) -> Place:
    """Return where the edge is reached.

    Raises: StateError.
    """
    try:
        return edge_of(settings) if at is None else Place.of(at)
    except ValueError as error:
        raise StateError(f"--at: {error}, such as 192.0.2.7:443 or [2001:db8::7]:443") from None


def find(name: str, found: Sequence[Certificate]) -> Certificate:
    """Return the certificate that is called so, in the registry or in the inventory.

    Raises: StateError, with all there are.
    """
    for one in found:
        if name in {one.registered, one.name}:
            return one
    raise StateError(f"no certificate is called {name}; there are: {', '.join(one.called for one in found)}")


def name_of(resource: Resource) -> str:
    """Return what a resource is called."""
    return str(resource["urn"]).rpartition("::")[2]


def issue_of(name: str, resources: Iterable[Resource]) -> tuple[int, Resource]:
    """Return the number of a certificate as it is deployed, and its key.

    Raises: StateError.
    """
    pattern = re.compile(rf"{re.escape(name)}-(\d+)-key")
    keys = ((pattern.fullmatch(name_of(one)), one) for one in of_type(resources, KEY_TYPE))
    found = [(int(match[1]), one) for match, one in keys if match]
    if not found:
        raise StateError(f"the state has no key of {name}: it was not issued here, or make up has not run since")
    return max(found, key=lambda pair: pair[0])


def chain_of(certificate: Certificate, resources: Iterable[Resource]) -> str | None:
    """Return a certificate as it is shown, PEM, or a root; None where the state has neither."""
    resources = list(resources)
    if certificate.is_authority:
        return _outputs(certificate.name, AUTHORITY_TYPE, resources)
    try:
        number, _ = issue_of(certificate.name, resources)
    except StateError:
        return None
    # As components/pki/generation.py calls it.
    return _outputs(certificate.name if number == 1 else f"{certificate.name}-{number}", CERTIFICATE_TYPE, resources)


def _outputs(name: str, type_: str, resources: Iterable[Resource]) -> str | None:
    for one in of_type(resources, type_):
        if name_of(one) == name:
            found = (one.get("outputs") or {}).get("certificate_pem")
            return found if isinstance(found, str) else None
    return None


def roots(found: Iterable[Certificate], resources: Iterable[Resource], authority: str = "") -> str:
    """Return the roots the state has, of one authority or of all, PEM."""
    chosen = [one for one in found if one.is_authority and (not authority or one.authority == authority)]
    return "".join(filter(None, (chain_of(one, resources) for one in chosen)))


def opened(stack: Stack) -> list[Resource]:
    """Return the resources with their secrets in the clear: the engine is asked. Never print what comes from here."""
    deployment = json.loads(stack.ask("stack", "export", "--show-secrets"))["deployment"] or {}
    return list(deployment.get("resources") or ())


def private_key(key: Resource) -> str:
    """Return the key that a resource has, once it is `opened`, PEM.

    Raises: StateError.
    """
    value: Any = (key.get("outputs") or {}).get("privateKeyPemPkcs8") or (key.get("outputs") or {}).get("privateKeyPem")
    if isinstance(value, Mapping) and "plaintext" in value:
        value = json.loads(value["plaintext"])
    if not isinstance(value, str) or "PRIVATE KEY" not in value:
        raise StateError(f"the engine has not opened the key {name_of(key)}")
    return value
