"""The command ``probe``: ``start [ROLE]`` is the container's entrypoint, ``run ROLE`` a role, ``wiring`` its report."""

import argparse
import json
import logging
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from probe import trust
from probe.wiring import Scrubber, WiringError

BACKEND_ROLES = ("server", "worker", "beat", "hatchet-worker-llm", "hatchet-worker-cpu")
"""Values of ENTRYPOINT in upstream's runserver.sh."""

OTHER_ROLES = ("web", "hatchet", "transcription")
"""Roles that have an image of their own upstream; they are named by the container's command."""

WIRING_SECONDS = 120
"""Longest wait for a report, above what fifteen hanging checks take in groups of four."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="probe", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help="the entrypoint: trust first, then the role")
    start.add_argument("role", nargs="?", choices=OTHER_ROLES)
    run = commands.add_parser("run", help="run a role with the environment as it is")
    run.add_argument("role", choices=BACKEND_ROLES + OTHER_ROLES)
    wiring = commands.add_parser("wiring", help="print this container's report; exit 1 unless all is well")
    wiring.add_argument("--only", metavar="NAME", help="run one check")
    given = parser.parse_args(arguments)
    if given.command == "start":
        return start_role(given.role, os.environ)
    if given.command == "run":
        return run_role(given.role)
    return print_wiring(given.only)


def chosen_role(argument: str | None, env: Mapping[str, str]) -> str:
    """The role of the argument, else of ENTRYPOINT; raises WiringError where neither names one."""
    role = argument or env.get("ENTRYPOINT", "")
    allowed = OTHER_ROLES if argument else BACKEND_ROLES
    if role not in allowed:
        raise WiringError(
            f"ENTRYPOINT={role!r} is not known; allowed are {', '.join(BACKEND_ROLES)}, "
            f"or a command of {', '.join(OTHER_ROLES)}"
        )
    return role


def start_role(argument: str | None, env: Mapping[str, str]) -> int:
    """Do what upstream's entrypoint does about private roots, then become the role's process.

    Returns an exit status only where that fails.
    """
    try:
        role = chosen_role(argument, env)
        # The front end's image has no such entrypoint (Node.js reads NODE_EXTRA_CA_CERTS), and neither has Hatchet's.
        exported = trust.install_custom_ca() if role not in ("web", "hatchet") else {}
    except WiringError as problem:
        print(f"probe: {problem}", file=sys.stderr)
        return 1
    except (OSError, subprocess.CalledProcessError) as problem:
        reason = getattr(problem, "stderr", None) or str(problem)
        print(f"probe: update-ca-certificates failed: {reason.strip()}", file=sys.stderr)
        return 1
    # A new process image, so that the variables stand in /proc/1/environ as they do upstream.
    return os.execve(sys.executable, [sys.executable, "-m", "probe", "run", role], {**env, **exported})


def run_role(name: str) -> int:
    """Run a role until it is told to stop."""
    # Each role imports only what it uses: a container of the front end carries no S3 client.
    from probe.environment import Environment
    from probe.serving import Role
    from probe.serving import main as serve

    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    env = Environment(os.environ)

    def build() -> Role:
        if name == "server":
            from probe import server

            return server.role(env)
        if name == "web":
            from probe import web

            return web.role(env)
        if name == "hatchet":
            from probe import hatchet

            return hatchet.role(env)
        if name == "transcription":
            from probe import transcription

            return transcription.role(env)
        from probe import worker

        if name == "worker":
            return worker.worker_role(env)
        if name == "beat":
            return worker.beat_role(env)
        return worker.hatchet_worker_role(name, env)

    try:
        role = build()
    except WiringError as problem:
        print(f"probe {name}: {Scrubber(os.environ).clean(str(problem))}", file=sys.stderr, flush=True)
        return 1
    return serve(role)


def print_wiring(only: str | None) -> int:
    """Fetch the report from the role's process, add what this process itself sees, print it."""
    try:
        report = fetch_wiring(only)
    except (OSError, ValueError) as problem:
        print(f"probe: no role answers on loopback: {problem}", file=sys.stderr)
        return 1
    if only is None and report.get("role") != "hatchet":
        report["trust_exec"] = exec_trust(str(report.get("role")), os.environ)
        report["ok"] = bool(report.get("ok")) and report["trust_exec"]["ok"]
    print(json.dumps(report, indent=2))
    return 0 if report.get("ok") else 1


def fetch_wiring(only: str | None) -> dict[str, Any]:
    """GET the report; an unhealthy one comes with status 503 and is as good."""
    from probe.serving import WIRING_PORT

    query = f"?{urllib.parse.urlencode({'only': only})}" if only else ""
    # Proxies of the environment must not see a loopback address.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{WIRING_PORT}/wiring{query}", timeout=WIRING_SECONDS) as response:
            return dict(json.load(response))
    except urllib.error.HTTPError as answer:
        return dict(json.load(answer))


def exec_trust(role: str, env: Mapping[str, str]) -> dict[str, Any]:
    """What a process started beside the role (``docker exec``, a health check) trusts, in the shape of an entry."""
    started = time.perf_counter()
    detail, error = None, None
    try:
        detail = trust.check_node(env) if role == "web" else trust.check_bundle(env)
    except WiringError as problem:
        error = str(problem)
    elapsed = round((time.perf_counter() - started) * 1000, 1)
    return {"ok": error is None, "milliseconds": elapsed, "error": error, "detail": detail}


if __name__ == "__main__":
    sys.exit(main())
