"""The start scripts: each step's failure ends them, and what they start takes their place."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from rendering import startup

# Says what it was called with and by which process it runs, then fails or goes on as told.
STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >> "$CALLS"
echo "$(basename "$0") ${DATABASE_URL:-}" >> "$CALLS.databases"
case "$(basename "$0") $*" in "${FAILING:-nothing}"*) exit 3 ;; esac
case "$(basename "$0") $*" in "${PAIRED:-nothing}"*)
    sh -c 'trap "echo listener stops >> $CALLS; exit 0" TERM; while :; do sleep 0.05; done' spawn_main &
    sh -c 'trap "echo tool stops >> $CALLS; exit 0" TERM; sleep 1 & wait; echo tool is done >> $CALLS' tool &
    trap 'wait; echo "main stops" >> "$CALLS"; exit 0' TERM
    echo $$ > "$CALLS.pid"
    wait
    ;;
esac
case "$(basename "$0") $*" in "${LASTING:-nothing}"*) echo $$ > "$CALLS.pid"; exec sleep 60 ;; esac
"""


class Container:
    """A folder in a container's place, with stand-ins for the programs a script calls."""

    def __init__(self, root: Path, script: str, programs: Mapping[str, str]) -> None:
        """Put everything where the script, moved below `root`, looks for it."""
        self.calls = root / "calls"
        for folder, names in programs.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for name in names.split():
                (root / folder / name).write_text(STAND_IN)
                (root / folder / name).chmod(0o755)
        self.script = root / "start.sh"
        script = script.replace("/app/.venv", f"{root}/app/.venv").replace("cd /\n", f"cd {root}\n")
        self.script.write_text(script)

    def start(self, **environment: str) -> "subprocess.Popen[str]":
        env = {"PATH": os.environ["PATH"], "CALLS": str(self.calls), "DATABASE_URL": "postgresql://db"} | environment
        # As in a container, nobody else is in its group of processes.
        return subprocess.Popen(
            ["sh", str(self.script)], env=env, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def run(self, **environment: str) -> tuple[int, list[str]]:
        """Return the exit status and every call."""
        process = self.start(**environment)
        process.communicate(timeout=30)
        return process.returncode, self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def backend(tmp_path: Path) -> Container:
    return Container(tmp_path, startup.runserver(), {"app/.venv/bin": "alembic celery python uvicorn"})


@pytest.fixture
def hatchet(tmp_path: Path) -> Container:
    return Container(tmp_path, startup.hatchet(), {".": "hatchet-migrate hatchet-admin hatchet-lite"})


SERVER = "uvicorn reflector.app:app --host 0.0.0.0 --port 1250"
MIGRATE = "alembic upgrade head"
PROVISION = "python -m reflector.tools.provision_admin"
RENAME = "python /app/rename_administrator.py"
ADMIN = {"ADMIN_EMAIL": "a@b.test", "ADMIN_PASSWORD_HASH": "hash"}
QUICKSTART = "hatchet-admin quickstart --skip certs --generated-config-dir ./config --overwrite=false"


@pytest.mark.parametrize(
    ("role", "calls"),
    [
        ("server", [MIGRATE, SERVER]),
        ("worker", ["celery -A reflector.worker.app worker --loglevel=info --concurrency=3"]),
        ("beat", ["celery -A reflector.worker.app beat --loglevel=info"]),
        ("hatchet-worker-llm", ["python -m reflector.hatchet.run_workers_llm"]),
    ],
)
def test_each_role_is_started(backend: Container, role: str, calls: list[str]) -> None:
    assert backend.run(ENTRYPOINT=role, WORKER_PROCESSES="3") == (0, calls)


def test_the_administrator_is_provisioned_between_migration_and_start(backend: Container) -> None:
    assert backend.run(ENTRYPOINT="server", **ADMIN) == (0, [MIGRATE, RENAME, PROVISION, SERVER])


def test_migrations_are_told_no_more_of_the_database_than_their_library_takes(backend: Container) -> None:
    """It refuses the bounds of a pool, which only the server's own library reads."""
    url = "postgresql+asyncpg://u:p@postgres:5432/reflector"
    assert backend.run(ENTRYPOINT="server", DATABASE_URL=f"{url}?min_size=1&max_size=10")[0] == 0
    told = Path(f"{backend.calls}.databases").read_text().splitlines()
    assert told == [f"alembic {url}", f"uvicorn {url}?min_size=1&max_size=10"]


@pytest.mark.parametrize(
    ("failing", "calls"),
    [("alembic", [MIGRATE]), ("python -m", [MIGRATE, RENAME, PROVISION]), ("python", [MIGRATE, RENAME])],
)
def test_a_server_whose_database_is_not_ready_does_not_start(
    backend: Container, failing: str, calls: list[str]
) -> None:
    assert backend.run(ENTRYPOINT="server", FAILING=failing, **ADMIN) == (3, calls)


@pytest.mark.parametrize("role", ["", "serve", "web"])
def test_an_unknown_role_is_a_clear_error(backend: Container, role: str) -> None:
    process = backend.start(ENTRYPOINT=role)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, backend.calls.exists()) == (1, False)
    assert said == f"ENTRYPOINT={role} is not one of server, worker, beat, hatchet-worker-llm\n"


def test_hatchet_is_migrated_and_seeded_before_it_starts(hatchet: Container) -> None:
    assert hatchet.run() == (0, ["hatchet-migrate ", QUICKSTART, "hatchet-lite --config ./config"])


@pytest.mark.parametrize(
    ("failing", "calls"),
    [("hatchet-migrate", ["hatchet-migrate "]), ("hatchet-admin", ["hatchet-migrate ", QUICKSTART])],
)
def test_a_hatchet_that_is_not_ready_does_not_start(hatchet: Container, failing: str, calls: list[str]) -> None:
    assert hatchet.run(FAILING=failing) == (3, calls)


# The upper half of what Hatchet's YAML library writes: keys in alphabetical order, no line folded.
WRITTEN = """\
alerting:
  sentry: {}
auth:
  basicAuthEnabled: true
  cookie:
    domain: taken-away
    name: hatchet
    secrets: 0123456789abcdef fedcba9876543210
  google:
    scopes:
    - openid
encryption:
  cloudKMS: {}
  jwt:
    privateJWTKeyset: cHJpdmF0ZQ==
    publicJWTKeyset: cHVibGlj
  masterKeyset: bWFzdGVy
runtime:
  allowSignup: true
  url: http://taken-away:8888
"""
KEPT = """\
auth:
  cookie:
    secrets: 0123456789abcdef fedcba9876543210
encryption:
  cloudKMS: {}
  jwt:
    privateJWTKeyset: cHJpdmF0ZQ==
    publicJWTKeyset: cHVibGlj
  masterKeyset: bWFzdGVy
"""


def configured(hatchet: Container, server: str) -> dict[str, str]:
    """Return what is in the folder of settings once Hatchet is up, which had this in it before."""
    folder = hatchet.script.parent / "config"
    folder.mkdir()
    (folder / "server.yaml").write_text(server)
    (folder / "database.yaml").write_text("seed:\n  adminPassword: in-clear\n")
    assert hatchet.run()[0] == 0
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_hatchet_keeps_its_keys_and_no_setting_that_may_be_gone(hatchet: Container) -> None:
    assert configured(hatchet, WRITTEN) == {"server.yaml": KEPT}, "nor the administrator's password"


@pytest.mark.parametrize("gone", ["secrets", "masterKeyset", "publicJWTKeyset", "privateJWTKeyset"])
def test_hatchets_settings_are_left_alone_where_its_keys_are_not_all_found(hatchet: Container, gone: str) -> None:
    other = "".join(line for line in WRITTEN.splitlines(keepends=True) if f"{gone}:" not in line)
    assert configured(hatchet, other) == {"server.yaml": other}


def test_hatchets_settings_are_left_alone_where_they_are_written_otherwise(hatchet: Container) -> None:
    other = '{"auth": {"cookie": {"secrets": "a b"}}, "encryption": {}}'
    assert configured(hatchet, other) == {"server.yaml": other}


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 30
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("step", ["hatchet-migrate", "hatchet-admin"])
def test_hatchet_hears_of_a_stop_in_every_step(hatchet: Container, step: str) -> None:
    process = hatchet.start(LASTING=step)
    wait_for(Path(f"{hatchet.calls}.pid"))
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGTERM
    assert "hatchet-lite" not in hatchet.calls.read_text()


@pytest.mark.parametrize("step", [MIGRATE, RENAME, PROVISION])
def test_a_server_hears_of_a_stop_in_every_step(backend: Container, step: str) -> None:
    process = backend.start(ENTRYPOINT="server", LASTING=step, **ADMIN)
    wait_for(Path(f"{backend.calls}.pid"))
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGTERM
    assert "uvicorn" not in backend.calls.read_text()


def test_all_of_hatchets_worker_hears_of_a_stop_and_is_waited_for(backend: Container) -> None:
    """Its listener takes further steps until it is told itself; what a step has called must not be stopped."""
    process = backend.start(ENTRYPOINT="hatchet-worker-llm", PAIRED="python")
    wait_for(Path(f"{backend.calls}.pid"))
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode == 0
    assert backend.calls.read_text().splitlines()[1:] == ["listener stops", "tool is done", "main stops"]


@pytest.mark.parametrize("status", [3, 0])
def test_hatchets_worker_ends_as_it_does_by_itself(backend: Container, status: int) -> None:
    """Without Hatchet it ends after a while, and Docker starts it anew."""
    assert backend.run(ENTRYPOINT="hatchet-worker-llm", FAILING="python" if status else "nothing")[0] == status


@pytest.fixture(params=["server", "worker", "beat", "hatchet"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """Yield a service that keeps running, and the file with the number of its process."""
    if request.param == "hatchet":
        container: Container = request.getfixturevalue("hatchet")
        process = container.start(LASTING="hatchet-lite")
    else:
        container = request.getfixturevalue("backend")
        last = {"server": "uvicorn"}.get(request.param, "celery")
        process = container.start(ENTRYPOINT=request.param, LASTING=last, WORKER_PROCESSES="2")
    yield process, Path(f"{container.calls}.pid")
    process.kill()
    process.communicate()


def test_the_stop_signal_reaches_the_service_itself(service: tuple["subprocess.Popen[str]", Path]) -> None:
    process, file = service
    wait_for(file)
    # No shell is left between: Docker signals the first process only.
    assert int(file.read_text()) == process.pid
    process.terminate()
    assert process.wait(timeout=30) == -signal.SIGTERM
