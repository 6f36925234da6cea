"""The command ``probe``: ``start`` is an upstream image's entrypoint, ``run ROLE`` a role, ``wiring`` its report."""

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from probe import roles, trust
from probe.wiring import WiringError

RUNSERVER = "/app/runserver.sh"
"""What the entrypoint of Reflector's backend image becomes (server/docker-entrypoint.sh, v0.45.0)."""

WIRING_SECONDS = 120
"""Longest wait for a report, above what fifteen hanging checks take in groups of four."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="probe", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help=f"trust first, then the role, or {RUNSERVER} where none is named")
    start.add_argument("role", nargs="?", choices=["transcription"])
    run = commands.add_parser("run", help="run a role with the environment as it is")
    run.add_argument("role", choices=sorted(roles.ROLES))
    wiring = commands.add_parser("wiring", help="print this container's report; exit 1 unless all is well")
    wiring.add_argument("--only", metavar="NAME", help="run one check")
    given = parser.parse_args(arguments)
    if given.command == "start":
        return start_role(given.role, os.environ)
    if given.command == "run":
        return roles.run(given.role, os.environ)
    return print_wiring(given.only)


def start_role(role: str | None, env: Mapping[str, str]) -> int:
    """Do what the entrypoints of backend and speech service do about private roots, then become what they become.

    Returns an exit status only where that fails.
    """
    try:
        exported = trust.install_custom_ca()
    except (OSError, subprocess.CalledProcessError) as problem:
        reason = getattr(problem, "stderr", None) or str(problem)
        print(f"probe: update-ca-certificates failed: {reason.strip()}", file=sys.stderr)
        return 1
    # A new process image, so that the variables stand in /proc/1/environ as they do upstream.
    command = [RUNSERVER] if role is None else [sys.executable, "-m", "probe", "run", role]
    try:
        return os.execve(command[0], command, {**env, **exported})
    except OSError as problem:
        print(f"probe: {command[0]}: {problem.strerror}", file=sys.stderr)
        return 1


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
