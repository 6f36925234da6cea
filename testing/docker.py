"""What throw-away stacks need of a Docker host: ports nobody uses, and to be gone without a trace."""

import os
from typing import Final

from components.base.daemon import Daemon
from components.base.ownership import LABEL_STACK
from operations.checks import is_busy

_PORTS: Final = range(20000, 32000)
"""Below those of outgoing connections: a port has to be free minutes later still."""
_KINDS: Final = (
    # What Docker has of a stack, how to list all of it, and how to remove it even while it runs.
    ("container", ("--all",), ("--force", "--volumes")),
    ("network", (), ()),
    ("volume", (), ()),
)

_SHARE: Final = 1000
"""Of the ports, what one of several processes that run tests side by side (pytest-xdist) begins at a distance of."""

_given: set[int] = set()


def free_port() -> int:
    """Return a port of this machine that nobody uses, by TCP or UDP on any address; each only once."""
    place: int = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) * _SHARE % len(_PORTS)
    ports: list[int] = [*_PORTS[place:], *_PORTS[:place]]
    for port in ports:
        if port not in _given and not any(is_busy(("0.0.0.0",), port, protocol) for protocol in ("tcp", "udp")):
            _given.add(port)
            return port
    raise RuntimeError(f"no port from {_PORTS.start} to {_PORTS.stop - 1} is free")


def erase(daemon: Daemon, prefix: str) -> None:
    """Remove all that a Docker host has of a stack, its data too."""
    for kind, every, running in _KINDS:
        ids = daemon.run(kind, "ls", *every, "--quiet", "--filter", f"label={LABEL_STACK}={prefix}").split()
        if ids:
            daemon.run(kind, "rm", *running, *ids, timeout_seconds=180)
