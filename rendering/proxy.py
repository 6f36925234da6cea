"""The environment by which programs find the proxy, and what they reach without it."""

from collections.abc import Sequence
from typing import Final, TypeVar
from urllib.parse import quote, urlsplit

T = TypeVar("T")

ITSELF: Final = ("localhost", "127.0.0.1", "::1", "0.0.0.0")
"""Where each container is itself; by the last one Ollama's client finds a server that listens everywhere."""


def environment(*, http: T | None, https: T | None, direct: Sequence[str]) -> dict[str, T | str]:
    """Return the variables for these proxies' URLs, with the names and addresses in `direct` left out; empty if there
    is no proxy.

    There is no standard: curl and busybox read the small letters only, some Java and Node programs the capitals only.
    """
    if http is None and https is None:
        return {}
    found: dict[str, T | str] = {}
    for name, value in (("HTTP_PROXY", http), ("HTTPS_PROXY", https)):
        if value is not None:
            found |= {name: value, name.lower(): value}
    excluded = ",".join(dict.fromkeys((*ITSELF, *direct)))
    # Node looks at none of them unless it is told to (22.21, 24.0 and later).
    return found | {"NO_PROXY": excluded, "no_proxy": excluded, "NODE_USE_ENV_PROXY": "1"}


def with_login(url: str, username: str, password: str) -> str:
    """Return the URL of a proxy with a login in it, as programs take it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{quote(username, safe='')}:{quote(password, safe='')}@{parts.netloc}"
