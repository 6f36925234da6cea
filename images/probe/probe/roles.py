"""Run a role by its name."""

import logging
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from probe import size
from probe.environment import Environment
from probe.wiring import Scrubber, WiringError

if TYPE_CHECKING:
    from probe.serving import Role


# Each role imports only what it uses: a container of the front end carries no S3 client.
def _server(env: Environment) -> "Role":
    from probe import server

    return server.role(env)


def _worker(env: Environment) -> "Role":
    from probe import worker

    return worker.worker_role(env)


def _beat(env: Environment) -> "Role":
    from probe import worker

    return worker.beat_role(env)


def _hatchet_worker(name: str, env: Environment) -> "Role":
    from probe import worker

    return worker.hatchet_worker_role(name, env)


def _web(env: Environment) -> "Role":
    from probe import web

    return web.role(env)


def _language_model(env: Environment) -> "Role":
    from probe import language_model

    return language_model.role(env)


def _transcription(env: Environment) -> "Role":
    from probe import transcription

    return transcription.role(env)


ROLES: Mapping[str, Callable[[Environment], "Role"]] = {
    "server": _server,
    "worker": _worker,
    "beat": _beat,
    "hatchet-worker-llm": partial(_hatchet_worker, "hatchet-worker-llm"),
    "hatchet-worker-cpu": partial(_hatchet_worker, "hatchet-worker-cpu"),
    "web": _web,
    "transcription": _transcription,
    "language-model": _language_model,
}
"""What ``run`` can play; Hatchet is started by commands of its own."""


def run(name: str, env: Mapping[str, str]) -> int:
    """Run a role until it is told to stop; returns the exit status."""
    return run_built(name, ROLES[name], env)


def run_built(name: str, build: Callable[[Environment], "Role"], env: Mapping[str, str]) -> int:
    """Run what ``build`` makes of the environment until it is told to stop; returns the exit status."""
    from probe.serving import main as serve

    log_to_stdout()
    try:
        size.grow(name, Environment(env))
        role = build(Environment(env))
    except WiringError as problem:
        print(f"probe {name}: {Scrubber(env).clean(str(problem))}", file=sys.stderr, flush=True)
        return 1
    return serve(role)


def log_to_stdout() -> None:
    """Log what happens here; of the libraries only what goes wrong."""
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)
