"""The three programs of Hatchet's image: ``hatchet-migrate``, ``hatchet-admin`` and ``hatchet-lite``.

``python3 -m probe.hatchet_commands NAME ARGUMENTS`` takes the command lines of hatchet-lite's start script
(hack/lite/start.sh), and ``hatchet-admin token create``.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NoReturn
from uuid import UUID

from probe import roles
from probe.environment import Environment
from probe.hatchet import DEFAULT_TOKEN_LIFE, Engine, Settings, parse_duration, role
from probe.hatchet_config import Configuration
from probe.wiring import WiringError


class _Parser(argparse.ArgumentParser):
    """Errors end with status 1 on standard output, as Hatchet's command line does."""

    def error(self, message: str) -> NoReturn:
        print(f"Error: {message}")
        print(self.format_usage(), end="")
        sys.exit(1)


@dataclass(frozen=True, kw_only=True)
class TokenRequest:
    """A parsed ``hatchet-admin token create``."""

    config: Path
    tenant_id: UUID | None
    name: str
    life: timedelta


@dataclass(frozen=True, kw_only=True)
class Quickstart:
    """A parsed ``hatchet-admin quickstart``."""

    config: Path


def parse_admin(arguments: Sequence[str]) -> TokenRequest | Quickstart:
    """Parse ``token create`` with its options, or ``quickstart --skip certs --overwrite=false`` with a folder."""
    parser = _Parser(prog="hatchet-admin", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    token = commands.add_parser("token", allow_abbrev=False)
    token.add_argument("action", choices=["create"])
    token.add_argument("--config", type=Path, default=Path())
    token.add_argument("--tenant-id", default="")
    token.add_argument("--name", default="default")
    token.add_argument("-e", "--expiresIn", default="", metavar="DURATION")
    quickstart = commands.add_parser("quickstart", allow_abbrev=False)
    # Certificates are never made here, and keys never overwritten: nothing else is asked of it.
    quickstart.add_argument("--skip", choices=["certs"], required=True)
    quickstart.add_argument("--overwrite", choices=["false"], required=True)
    quickstart.add_argument("--generated-config-dir", type=Path, default=Path("generated"))
    given = parser.parse_args(arguments)
    if given.command == "quickstart":
        return Quickstart(config=given.generated_config_dir)
    try:
        tenant_id = UUID(given.tenant_id.strip()) if given.tenant_id.strip() else None
        life = parse_duration(given.expiresIn) if given.expiresIn else DEFAULT_TOKEN_LIFE
    except ValueError as problem:
        parser.error(str(problem))
    return TokenRequest(config=given.config, tenant_id=tenant_id, name=given.name, life=life)


def admin(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Run ``hatchet-admin``; a bare token is the only thing it ever prints on standard output."""
    request = parse_admin(arguments)
    what = "quickstart" if isinstance(request, Quickstart) else "token create"
    try:
        if isinstance(request, Quickstart):
            quickstart(request.config, Environment(env))
        else:
            engine = Engine(Settings.from_environment(Environment(env), request.config), request.config)
            tenant_id = request.tenant_id or engine.settings.tenant_id
            print(asyncio.run(engine.mint(tenant_id, request.name, request.life)))
    except WiringError as problem:
        print(f"Fatal: could not run [{what}] command: {problem}", file=sys.stderr)
        return 1
    return 0


def quickstart(folder: Path, env: Environment) -> None:
    """Write settings and keys into the folder, then seed by what stands there: in this order, as Hatchet does."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Configuration.load(env, folder).with_keys().write(folder)
    except OSError as problem:
        raise WiringError(f"{folder} cannot be written: {problem.strerror}") from problem
    asyncio.run(Engine(Settings.from_environment(env, folder), folder).seed())


def migrate(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Run ``hatchet-migrate``."""
    _Parser(prog="hatchet-migrate").parse_args(arguments)
    try:
        asyncio.run(Engine(Settings.from_environment(Environment(env))).migrate())
    except WiringError as problem:
        print(f"could not run migrations: {problem}", file=sys.stderr)
        return 1
    return 0


def lite(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Run ``hatchet-lite`` until it is told to stop."""
    parser = _Parser(prog="hatchet-lite", allow_abbrev=False)
    parser.add_argument("--config", type=Path, default=Path())
    return roles.run_built("hatchet", partial(role, folder=parser.parse_args(arguments).config), env)


PROGRAMS: Mapping[str, Callable[[Sequence[str], Mapping[str, str]], int]] = {
    "hatchet-migrate": migrate,
    "hatchet-admin": admin,
    "hatchet-lite": lite,
}


if __name__ == "__main__":
    sys.exit(PROGRAMS[sys.argv[1]](sys.argv[2:], os.environ))
