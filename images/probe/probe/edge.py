"""Calls that go out of the container and back in through the public name, as a browser's would."""

import ssl
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx

from probe.environment import Environment, parse_url
from probe.wiring import WiringError

HTTP_SECONDS = 7.0
"""Longest wait for an answer, below the time a check has."""

EDGE_VARIABLE = "PROBE_EDGE"
"""Where the edge is reached from inside, ``host[:port]``, for a public name that means something else in a container
(``localhost``). Only the connection goes there; SNI, Host and the certificate's names stay those of the URL."""

LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))


@cache
def default_context() -> ssl.SSLContext:
    """This process's trust; httpx alone would parse the whole bundle anew for every client."""
    return httpx.create_ssl_context()


def http_client(seconds: float = HTTP_SECONDS, verify: ssl.SSLContext | None = None) -> httpx.AsyncClient:
    """A client that verifies with the process's own trust (SSL_CERT_FILE), or with the one given."""
    return httpx.AsyncClient(verify=verify or default_context(), timeout=seconds)


async def get_through_edge(
    env: Environment, variable: str, path: str, verify: ssl.SSLContext | None = None
) -> dict[str, Any]:
    """GET ``<variable's URL><path>`` with TLS verified; returns URL and status, raises unless it is 200."""
    base = env.url(variable)
    url = env.required(variable).rstrip("/") + path
    target, headers, extensions = url, {}, {}
    edge = env.text(EDGE_VARIABLE)
    if edge:
        inside = parse_url(EDGE_VARIABLE, f"{base.scheme}://{edge}")
        target = urlsplit(url)._replace(netloc=inside.netloc).geturl()
        headers, extensions = {"Host": base.netloc}, {"sni_hostname": base.hostname}
    elif base.hostname in LOOPBACK_NAMES:
        raise WiringError(
            f"{variable}: {base.hostname} means this container itself; use a name that leads to the edge from inside "
            f"too, or say in {EDGE_VARIABLE} where the edge is"
        )
    async with http_client(verify=verify) as client:
        response = await client.get(target, headers=headers, extensions=extensions)
    if response.status_code != 200:
        raise WiringError(f"{variable}: GET {url} answered {response.status_code}, expected 200")
    return {"url": url, "status": response.status_code, "http_version": response.http_version}
