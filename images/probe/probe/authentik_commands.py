"""Authentik's command ``ak``: ``server``, ``worker``, ``apply_blueprint`` and ``healthcheck`` (lifecycle/ak).

``python3 -m probe.authentik_commands COMMAND …``. What is wrong with a blueprint goes to standard error with status 1:
in lines, or as a traceback where the real one shows one. A health check is asked often: nothing is imported before it
is needed.
"""

import argparse
import asyncio
import http.client
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from probe.environment import Environment

HEALTH_SECONDS = 10.0
"""Longest wait for an answer about health."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket of the file system."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=HEALTH_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(HEALTH_SECONDS)
        self.sock.connect(str(self._path))


def healthcheck(env: Mapping[str, str]) -> int:
    """Ask the process that runs here, over its socket, whether it lives; 0 where it does."""
    from probe.authentik_settings import temporary_folder

    folder = temporary_folder(env)
    try:
        mode = (folder / "authentik-mode").read_text()
        if mode not in ("server", "worker"):
            raise ValueError(f"Invalid mode {mode!r}")
        connection = _UnixConnection(folder / "authentik.sock")
        connection.request("HEAD", "/-/health/live/")
        status = connection.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as problem:
        print(f"failed to send healthcheck request: {problem}", file=sys.stderr)
        return 1
    if status >= 400:
        print(f"unhealthy status code {status}", file=sys.stderr)
        return 1
    return 0


def run(name: str, env: Mapping[str, str]) -> int:
    """Run ``server`` or ``worker`` until it is told to stop."""
    from probe import authentik, roles

    if name == "server":
        return roles.run_built("authentik", authentik.server_role, env)
    return roles.run_built("authentik-worker", authentik.worker_role, env)


def apply_blueprints(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Apply blueprints in the order given; the first that is invalid ends it, those before stay applied."""
    from probe.environment import Environment
    from probe.wiring import Scrubber, WiringError

    parser = argparse.ArgumentParser(prog="ak apply_blueprint", allow_abbrev=False)
    parser.add_argument("blueprints", nargs="+", metavar="PATH")
    parser.add_argument("--dry-run", action="store_true")
    given = parser.parse_args(arguments)
    try:
        lines = asyncio.run(_apply_all(given.blueprints, Environment(env), given.dry_run))
    except WiringError as problem:
        print(f"ak apply_blueprint: {Scrubber(env).clean(str(problem))}", file=sys.stderr)
        return 1
    for line in lines:
        print(line, file=sys.stderr)
    return 1 if lines else 0


async def _apply_all(paths: Sequence[str], env: "Environment", dry_run: bool) -> list[str]:
    from probe.authentik import BLUEPRINTS, apply_path
    from probe.authentik_settings import Settings
    from probe.authentik_store import PostgresStore

    store = PostgresStore(Settings.from_environment(env).dsn)
    await store.wait()
    await store.migrate()
    for path in paths:
        lines = await apply_path(store, BLUEPRINTS, path, env, dry_run=dry_run)
        if lines:
            return lines
    return []


def main(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Run a command of ``ak``; returns the exit status."""
    match list(arguments):
        case ["server" | "worker" as name]:
            return run(name, env)
        case ["healthcheck"]:
            return healthcheck(env)
        case ["apply_blueprint", *rest]:
            return apply_blueprints(rest, env)
        case [name, *_]:
            print(f"Unknown command: {name!r}\nType 'manage.py help' for usage.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
