"""Calls to somebody no setting names, which the real software makes: tried for real, so that a test can see them.

Only a name is looked up and a connection opened; nothing is sent, and nothing comes of it.
"""

import logging
import socket
import threading
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 5.0
"""Longest wait for a connection: Hatchet's own for its security check (pkg/security/security.go)."""

log = logging.getLogger("probe.outside")


def call_out(url: str, why: str) -> threading.Thread:
    """Open a connection to the URL's host and close it; returns the thread that does.

    A thread that ends with the process: a resolver that does not answer must not hold up its stopping.
    """
    thread = threading.Thread(target=_connect, args=(url, why), daemon=True, name="call-out")
    thread.start()
    return thread


def _connect(url: str, why: str) -> None:
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    try:
        socket.create_connection(address, timeout=TIMEOUT_SECONDS).close()
        outcome = "connected"
    except OSError as problem:
        outcome = str(problem)
    log.warning("calling out to %s:%d (%s): %s", *address, why, outcome)
