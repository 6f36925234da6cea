"""The workflow engine's token and the plain line protocol that stands in for its gRPC.

A client sends its token as the first line and reads ``OK <tenant id>`` or ``ERR <reason>``; then every ``PING`` is
answered with ``PONG``. One exchange proves name, port, TLS strategy and the token's signature, as gRPC would.
``RUN <workflow> <input>`` is answered with ``QUEUED <run>``, ``TAKE <workflow>`` with ``RUN <run> <input>`` or with
``NONE``, and ``DONE <run>`` with ``OK``; a run whose worker hangs up before that is given to the next one.
"""

import asyncio
import base64
import binascii
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from probe.edge import http_client
from probe.environment import Environment
from probe.wiring import WiringError

CONNECT_SECONDS = 7.0
"""Longest wait for a connection or a line, below the time a check has."""

LINE_BYTES = 8192
"""Longest line either side accepts; a token is under 1 kB."""

CLAIMS = ("sub", "server_url", "grpc_broadcast_address")
"""What hatchet-sdk 1.22.16 takes from the token (hatchet_sdk/token.py)."""


class RefusedError(WiringError):
    """The engine is there and does not take the token."""


@dataclass(frozen=True, kw_only=True)
class EngineClient:
    """Everything a worker needs to reach the engine, as hatchet-sdk 1.22.16 derives it."""

    token: str
    tenant_id: str
    host: str
    port: int
    server_url: str
    tls: ssl.SSLContext | None
    expires_at: float

    @classmethod
    def from_environment(cls, env: Environment) -> "EngineClient":
        """Read HATCHET_CLIENT_*; address and URL come from the token where the environment does not set them."""
        token = env.text("HATCHET_CLIENT_TOKEN")
        if not token:
            raise WiringError("HATCHET_CLIENT_TOKEN must be set")
        claims = token_claims(token)
        address = env.text("HATCHET_CLIENT_HOST_PORT") or claims["grpc_broadcast_address"]
        host, separator, port = address.rpartition(":")
        if not separator or not host or not port.isdigit():
            raise WiringError(f"HATCHET_CLIENT_HOST_PORT={address!r} must be host:port")
        server_url = env.text("HATCHET_CLIENT_SERVER_URL") or claims["server_url"]
        return cls(
            token=token,
            tenant_id=env.text("HATCHET_CLIENT_TENANT_ID") or claims["sub"],
            host=host,
            port=int(port),
            server_url=server_url.rstrip("/"),
            tls=_tls(env),
            expires_at=float(claims.get("exp", "inf")),
        )

    @asynccontextmanager
    async def connection(self) -> AsyncIterator["EngineConnection"]:
        """Connect and prove the token; raises WiringError with the engine's reason where it is refused."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(self.host, self.port, ssl=self.tls, limit=LINE_BYTES)
        except (OSError, TimeoutError) as problem:
            how = "plain" if self.tls is None else "TLS"
            reason = str(problem) or "no answer in time"
            raise WiringError(f"hatchet at {self.host}:{self.port} ({how}) cannot be reached: {reason}") from problem
        try:
            link = EngineConnection(reader=reader, writer=writer)
            status, _, reason = (await link.exchange(self.token)).partition(" ")
            if status == "ERR":
                raise RefusedError(f"hatchet at {self.host}:{self.port} refuses the token: {reason}")
            if status != "OK":
                raise WiringError(f"hatchet at {self.host}:{self.port} hung up, so nothing is known of the token")
            yield link
        finally:
            writer.close()

    async def list_workers(self) -> int:
        """Call the REST API with the token; returns how many workers it lists."""
        url = f"{self.server_url}/api/v1/tenants/{self.tenant_id}/worker"
        async with http_client(CONNECT_SECONDS) as client:
            response = await client.get(url, headers={"Authorization": f"Bearer {self.token}"})
        if response.status_code != 200:
            raise WiringError(f"HATCHET_CLIENT_SERVER_URL: GET {url} answered {response.status_code}, expected 200")
        return len(response.json()["rows"])


@dataclass(frozen=True, kw_only=True)
class EngineConnection:
    """An open connection: one line out, one line in."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def exchange(self, line: str) -> str:
        """Send a line, return the answer; an empty answer means the engine hung up."""
        async with asyncio.timeout(CONNECT_SECONDS):
            self.writer.write(line.encode() + b"\n")
            await self.writer.drain()
            return (await self.reader.readline()).decode(errors="replace").strip()

    async def heartbeat(self) -> None:
        """Raise unless the engine answers."""
        if await self.exchange("PING") != "PONG":
            raise WiringError("hatchet hung up")

    async def trigger(self, workflow: str, given: str) -> str:
        """Have a workflow run with this input, which has no white space; returns the run's id."""
        word, _, identity = (await self.exchange(f"RUN {workflow} {given}")).partition(" ")
        if word != "QUEUED":
            raise WiringError(f"hatchet does not queue the workflow {workflow}")
        return identity

    async def take(self, workflow: str) -> tuple[str, str] | None:
        """A run of this workflow that waits, as id and input, or None."""
        word, _, rest = (await self.exchange(f"TAKE {workflow}")).partition(" ")
        if word not in ("RUN", "NONE"):
            raise WiringError("hatchet hung up")
        identity, _, given = rest.partition(" ")
        return (identity, given) if word == "RUN" else None

    async def finish(self, identity: str) -> None:
        """Say that a run is over, well or not."""
        if await self.exchange(f"DONE {identity}") != "OK":
            raise WiringError(f"hatchet does not know the run {identity}")


async def check_engine(env: Environment) -> dict[str, Any]:
    """Use the token on both of the engine's doors."""
    client = EngineClient.from_environment(env)
    async with client.connection() as link:
        await link.heartbeat()
    return {
        "host_port": f"{client.host}:{client.port}",
        "server_url": client.server_url,
        "tenant": client.tenant_id,
        "workers": await client.list_workers(),
        "token_days_left": round((client.expires_at - time.time()) / 86_400, 1),
    }


def token_claims(token: str) -> dict[str, str]:
    """The claims the SDK reads without verifying anything; raises WiringError where it would fail."""
    parts = token.split(".")
    if not token.startswith("ey") or len(parts) != 3:
        raise WiringError("HATCHET_CLIENT_TOKEN is no JWT (three parts, starting with 'ey')")
    try:
        payload = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        raise WiringError("HATCHET_CLIENT_TOKEN has no readable payload") from None
    missing = [name for name in CLAIMS if not isinstance(payload, dict) or not isinstance(payload.get(name), str)]
    if missing:
        raise WiringError(f"HATCHET_CLIENT_TOKEN lacks the claims {', '.join(missing)}")
    return {name: str(value) for name, value in payload.items()}


def _tls(env: Environment) -> ssl.SSLContext | None:
    prefix = "HATCHET_CLIENT_TLS_"
    # The SDK's own default is "tls", whatever Reflector's settings module says.
    strategy = env.choice(prefix + "STRATEGY", ("none", "tls", "mtls"), "tls")
    if strategy == "none":
        return None
    context = ssl.create_default_context(cafile=env.text(prefix + "ROOT_CA_FILE") or None)
    if strategy == "mtls":
        context.load_cert_chain(env.required(prefix + "CERT_FILE"), env.required(prefix + "KEY_FILE"))
    return context
