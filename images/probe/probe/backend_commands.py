"""The commands of /app/.venv/bin that a start script calls, in place of Alembic, Uvicorn, Celery and Python.

``python3 -m probe.backend_commands NAME ARGUMENTS`` takes just the command lines that start Reflector's roles, or make
its database ready. Any other is refused: a start script that would not start Reflector must not start the probe.
"""

import asyncio
import logging
import os
import re
import runpy
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from probe import roles
from probe.environment import DEFAULT_SECRET_KEY, Environment
from probe.wiring import Scrubber, WiringError

REFUSED = 2
"""Exit status for a command line nobody upstream would understand."""

ROLES: Mapping[tuple[str, ...], str] = {
    ("uvicorn", "reflector.app:app", "--host", "0.0.0.0", "--port", "1250"): "server",
    ("celery", "-A", "reflector.worker.app", "worker", "--loglevel=info", "--concurrency=N"): "worker",
    ("celery", "-A", "reflector.worker.app", "beat", "--loglevel=info"): "beat",
    ("python", "-m", "reflector.hatchet.run_workers_llm"): "hatchet-worker-llm",
    ("python", "-m", "reflector.hatchet.run_workers_cpu"): "hatchet-worker-cpu",
}
"""The last lines of upstream's start script (server/runserver.sh, v0.45.0)."""

RENAME_ADMINISTRATOR = ("python", "/app/rename_administrator.py")
"""A program of the deployment's own, which needs no more of the image than its database driver."""

CONCURRENCY = re.compile(r"--concurrency=[1-9][0-9]*")

log = logging.getLogger("probe.backend")


# Each command imports only what it uses: a health check runs every few seconds.
async def migrate(env: Environment) -> None:
    """Bring the schema up to date, and leave word for the other roles."""
    from probe import backend, database

    # Alembic connects by libpq, which refuses what only the server's own library reads.
    if urlsplit(env.required("DATABASE_URL", backend.DEFAULT_DATABASE_URL)).query:
        raise WiringError('DATABASE_URL: invalid dsn: invalid connection option "min_size"')
    dsn = backend.settings(env).dsn
    before, after = await database.migrate(dsn)
    log.info("schema at version %d (was %d)", after, before)
    secret_key = env.required("SECRET_KEY", DEFAULT_SECRET_KEY)
    await database.publish_deployment(dsn, secret_key, backend.data_directory(env))


async def provision_admin(env: Environment) -> None:
    """Create or update the administrator, where there is to be one."""
    from probe import backend, users

    email, password_hash = env.text("ADMIN_EMAIL"), env.text("ADMIN_PASSWORD_HASH")
    if email and password_hash:
        done = await users.provision_admin(backend.settings(env).dsn, email, password_hash)
        log.info("%s admin user %s", done, email)


TASKS: Mapping[tuple[str, ...], Callable[[Environment], Coroutine[Any, Any, None]]] = {
    ("alembic", "upgrade", "head"): migrate,
    ("python", "-m", "reflector.tools.provision_admin"): provision_admin,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    line = tuple("--concurrency=N" if CONCURRENCY.fullmatch(word) else word for word in given)
    if line in ROLES:
        return roles.run(ROLES[line], os.environ)
    if line == RENAME_ADMINISTRATOR:
        runpy.run_path(line[1], run_name="__main__")
        return 0
    if line in TASKS:
        roles.log_to_stdout()
        try:
            asyncio.run(TASKS[line](Environment(os.environ)))
        except WiringError as problem:
            print(f"{line[0]}: {Scrubber(os.environ).clean(str(problem))}", file=sys.stderr, flush=True)
            return 1
        return 0
    if line[:1] == ("celery",):
        from probe import celery_command

        return celery_command.main(line[1:])
    known = "\n  ".join(" ".join(known) for known in (*ROLES, *TASKS, RENAME_ADMINISTRATOR))
    print(f"`{' '.join(line)}` starts nothing of Reflector's; known are\n  {known}", file=sys.stderr)
    return REFUSED


if __name__ == "__main__":
    sys.exit(main())
