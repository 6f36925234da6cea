"""Container providers asked as whoever commands them does, and as a stranger would: who is let in, and who is not.

Nothing counts but the answer to a request: with TLS 1.3 a server refuses a client after the handshake, and a Kubernetes
API server refuses by a status.
"""

import base64
import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from components.base.ownership import LABEL_DEPLOYMENT
from operations.client_files import client_files
from settings.providers import KUBERNETES, SWARM

_TIMEOUT_SECONDS: Final = 10
_ASKED: Final = {
    "docker": "/version",
    SWARM: "/info",
    # Not /version, which anybody may read of a cluster (kubernetes/enhancements#789).
    KUBERNETES: "/api",
}
_REFUSALS: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)

Finding = tuple[str, bool]
"""What was found, and whether that is fine."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of a request."""

    status: int = 0
    """Of HTTP; 0 where there was no answer."""
    body: bytes = b""
    why: str = ""
    """Why there was none."""
    refused: bool = False
    """Whether that was said to who asked, by somebody who had shown the right certificate of a server."""

    @property
    def is_refusal(self) -> bool:
        """Whether who asked was not let in."""
        return self.refused or self.status in _REFUSALS

    def __str__(self) -> str:
        return self.why or f"status {self.status}"


def findings(material: Mapping[str, Any], now: datetime) -> Iterator[Finding]:
    """Yield what is found of a container provider; `material` is its entry of the output `container_providers`."""
    kind, address, authority = material["kind"], material["address"], material["ca"]
    key, chain = _credentials(material)
    path = _ASKED[kind]
    with client_files(key, chain) as client:
        answer = ask(address, path, authority, client)
        if answer.status != HTTPStatus.OK:
            yield f"{address} does not answer to its client: {answer}", False
        else:
            yield f"{address} answers to its client", True
        if kind == SWARM and answer.status == HTTPStatus.OK:
            yield from _of_a_manager(address, answer, authority, client, material.get("secrets") or {})
    if not answer.status and not answer.refused:
        return  # nobody was there who could refuse somebody else
    yield _stranger(address, ask(address, path, authority), "who has no certificate")
    with client_files(*_foreign(now)) as client:
        yield _stranger(address, ask(address, path, authority, client), "a certificate of another authority")


def _credentials(material: Mapping[str, Any]) -> tuple[str, str]:
    """Return key and chain, PEM."""
    if material["kind"] != KUBERNETES:
        return material["key"], material["certificate"]
    (user,) = json.loads(material["kubeconfig"])["users"]
    key, chain = (base64.b64decode(user["user"][one]) for one in ("client-key-data", "client-certificate-data"))
    return key.decode(), chain.decode()


def _stranger(address: str, answer: Answer, who: str) -> Finding:
    if answer.is_refusal:
        return f"{address} refuses {who} ({answer})", True
    if answer.status:
        return f"{address} answers to {who} ({answer}); have it verify its clients", False
    return f"{address} could not be asked with {who}: {answer}", False


def _of_a_manager(
    address: str,
    answer: Answer,
    authority: str,
    client: tuple[Path, Path],
    published: Mapping[str, Mapping[str, str]],
) -> Iterator[Finding]:
    """Yield whether it is a manager, has what was published, and has of before what nobody may need any more."""
    if not (json.loads(answer.body).get("Swarm") or {}).get("ControlAvailable"):
        yield f"{address} is no manager of a Swarm", False
        return
    yield f"{address} is a manager of a Swarm", True
    wanted = {name for parts in published.values() for name in parts.values()}
    if not wanted:
        return
    listed = ask(address, "/secrets", authority, client)
    if listed.status != HTTPStatus.OK:
        yield f"{address} does not list its secrets: {listed}", False
        return
    found: dict[str, str] = {
        one["Spec"]["Name"]: (one["Spec"].get("Labels") or {}).get(LABEL_DEPLOYMENT, "")
        for one in json.loads(listed.body)
    }
    missing = sorted(wanted - found.keys())
    if missing:
        yield f"{address} has no secret {', '.join(missing)}; make up ARGS=--refresh", False
    else:
        yield f"{address} has every secret that was published", True
    ours = {deployment for name, deployment in found.items() if name in wanted}
    old = sorted(name for name, deployment in found.items() if deployment in ours and name not in wanted)
    if old:
        yield f"{address} still has secrets of before; once no service has them: docker secret rm {' '.join(old)}", True


def ask(address: str, path: str, authority: str, client: tuple[Path, Path] | None = None) -> Answer:
    """Return what comes of GET `path`, by somebody who trusts `authority` (PEM) alone.

    `client` are files with the certificate and the key that are shown.
    """
    context = ssl.create_default_context(cadata=authority)
    if client is not None:
        context.load_cert_chain(*client)
    parts = urlsplit(address)
    assert parts.hostname is not None, "settings have been checked for it"
    connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=_TIMEOUT_SECONDS, context=context)
    known = False
    try:
        connection.connect()
        known = True
        connection.request("GET", path)
        response = connection.getresponse()
        return Answer(status=response.status, body=response.read())
    except (OSError, http.client.HTTPException) as error:
        # Before the handshake is over an alert alone is about who asks; after it, all but silence is.
        refused = not isinstance(error, TimeoutError) if known else "ALERT" in str(getattr(error, "reason", ""))
        return Answer(why=_why(error), refused=refused)
    finally:
        connection.close()


def _why(error: Exception) -> str:
    words = getattr(error, "verify_message", None) or getattr(error, "reason", None)
    return str(words or getattr(error, "strerror", None) or error or type(error).__name__)


def _foreign(now: datetime) -> tuple[str, str]:
    """Return key and certificate (PEM) of a client that nobody knows."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stranger")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private.decode(), certificate.public_bytes(encoding).decode()
