"""The start scripts: each step's failure ends them, and what they start takes their place."""

import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

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


def test_an_administrator_without_a_password_is_found_again_and_not_provisioned(backend: Container) -> None:
    assert backend.run(ENTRYPOINT="server", ADMIN_EMAIL="a@b.test") == (0, [MIGRATE, RENAME, SERVER])


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


# --- The web frontend's log -------------------------------------------------------------------------------------------

JWT: Final = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJsb2NhbCJ9.c2lnbmF0dXJl-_0"
OPAQUE: Final = "kY3pXa9QmVb1"
"""A refresh token of Authentik's is no JWT."""


def awk() -> list[str]:
    """Return busybox's awk, as the images have it, or what of this machine passes on lines as they come."""
    if shutil.which("busybox"):
        return ["busybox", "awk"]
    own = shutil.which("awk")
    assert own is not None
    return ["awk", *(["-W", "interactive"] if Path(own).resolve().name == "mawk" else [])]


@pytest.fixture
def log_filter(tmp_path: Path) -> list[str]:
    """The command that filters a log."""
    program = tmp_path / "log_filter.awk"
    program.write_text(startup.web_log_filter())
    return [*awk(), "-f", str(program)]


def filtered(command: list[str], text: str) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=30)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        # As Node prints objects.
        (f"  accessToken: '{JWT}',", "  accessToken: '[hidden]',"),
        (f"  refreshToken: '{OPAQUE}',", "  refreshToken: '[hidden]',"),
        (f'  refresh_token: "{OPAQUE}",', '  refresh_token: "[hidden]",'),
        (f"  idToken: `{OPAQUE}`", "  idToken: `[hidden]`"),
        (f"  'id_token': '{JWT}'", "  'id_token': '[hidden]'"),
        (f"  clientSecret: '{OPAQUE}'", "  clientSecret: '[hidden]'"),
        (f"{{ accessToken: '{JWT}', refreshToken: '{OPAQUE}', sub: 'a' }}",
         "{ accessToken: '[hidden]', refreshToken: '[hidden]', sub: 'a' }"),
        (f"URLSearchParams {{ 'refresh_token' => '{OPAQUE}', 'scope' => 'openid' }}",
         "URLSearchParams { 'refresh_token' => '[hidden]', 'scope' => 'openid' }"),
        # JSON, with and without blanks.
        (f'{{"access_token":"{JWT}","expires_in":900,"refresh_token": "{OPAQUE}"}}',
         '{"access_token":"[hidden]","expires_in":900,"refresh_token": "[hidden]"}'),
        # The body of a request.
        (f"grant_type=refresh_token&refresh_token={OPAQUE}&client_id=reflector&client_secret={OPAQUE}",
         "grant_type=refresh_token&refresh_token=[hidden]&client_id=reflector&client_secret=[hidden]"),
        (f"'client_secret={OPAQUE}'", "'client_secret=[hidden]'"),
        # By itself, wherever it stands.
        (JWT, "[hidden]"),
        (f"Bearer {JWT}", "Bearer [hidden]"),
        (f"({JWT}) and {JWT}, {JWT}", "([hidden]) and [hidden], [hidden]"),
        (f"{JWT}{JWT}", "[hidden]"),
        (f"?token={JWT}&x=1", "?token=[hidden]&x=1"),
        # Unsigned, and encrypted, which has five parts.
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.", "[hidden]"),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0", "[hidden]"),
        ("eyJhbGciOiJkaXIifQ..aXY.Y2lwaGVy.dGFn", "[hidden]"),
        # The same twice, and one within the other.
        (f"refreshToken: '{OPAQUE}' refreshToken: '{OPAQUE}'", "refreshToken: '[hidden]' refreshToken: '[hidden]'"),
        (f"refreshToken: 'x{JWT}y'", "refreshToken: '[hidden]'"),
    ],
)  # fmt: skip
def test_no_token_is_left_in_the_log(log_filter: list[str], line: str, shown: str) -> None:
    assert filtered(log_filter, f"{line}\n") == f"{shown}\n"


@pytest.mark.parametrize(
    "line",
    [
        "", " ", "  ▲ Next.js 15", "accessTokenExpires: 1764288000000,", "no cached token received", "a & b \\ c \\& d",
        "extendedToken {", "error: 'RefreshAccessTokenError'", "Failed to refresh access token. Response status: 400",
        "token: undefined, accessToken: undefined", "eyJ", "eyJabc", "www.example.com/eyJ.", "%s %d 100%", "é ☃ 日本語",
        "a 'quoted' \"text\" with `all`", "grant_type=refresh_token&client_id=reflector",
        "at Object.<anonymous> (/app/x.js:1:2)", "it ends with eyJabc.",
        "refreshToken: ''",
    ],
)  # fmt: skip
def test_a_line_without_a_token_is_left_as_it_is(log_filter: list[str], line: str) -> None:
    expected = line.replace("refreshToken: ''", "refreshToken: '[hidden]'")
    assert filtered(log_filter, f"{line}\n") == f"{expected}\n"


def test_an_object_of_many_lines_keeps_its_form(log_filter: list[str]) -> None:
    text = (
        f"extendedToken {{\n  sub: 'local:a@b.test',\n  accessToken: '{JWT}',\n  exp: 1,\n  user: {{ id: 'x' }}\n}}\n"
    )
    assert filtered(log_filter, text) == text.replace(JWT, "[hidden]")


def test_a_last_line_without_its_end_is_not_lost(log_filter: list[str]) -> None:
    assert filtered(log_filter, f"one\nrefresh_token={OPAQUE}") == "one\nrefresh_token=[hidden]\n"


def test_each_line_is_passed_on_at_once(log_filter: list[str]) -> None:
    with subprocess.Popen(log_filter, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin is not None and process.stdout is not None
        for number in range(3):
            process.stdin.write(f"line {number}\n")
            process.stdin.flush()
            # Waits for ever where lines are kept back; nothing more is written before this one is there.
            assert process.stdout.readline() == f"line {number}\n"
        process.stdin.close()
        assert process.wait(timeout=30) == 0


class Web:
    """The web frontend's start script, moved below a folder, with this machine's awk in busybox's place."""

    def __init__(self, root: Path) -> None:
        self.pipe = root / "pipe"
        program, self.script, busybox = root / "log_filter.awk", root / "web.sh", root / "busybox"
        program.write_text(startup.web_log_filter())
        text = startup.web()
        for old, new in (("/tmp/reflector-web-log", self.pipe), (startup.WEB_LOG_FILTER_FILE, program)):
            assert old in text
            text = text.replace(old, str(new))
        self.script.write_text(text)
        busybox.write_text(f'#!/bin/sh\n[ "$1" = awk ] || exit 97\nshift\nexec {" ".join(awk())} "$@"\n')
        busybox.chmod(0o755)
        self.environment = {"PATH": f"{root}:{os.environ['PATH']}"}

    def start(self, *command: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            ["sh", str(self.script), *command], env=self.environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip


@pytest.fixture
def web(tmp_path: Path) -> Web:
    return Web(tmp_path)


def test_all_the_web_frontend_prints_is_filtered(web: Web) -> None:
    process = web.start("sh", "-c", f"echo \"accessToken: '{JWT}'\"; echo 'refresh_token={OPAQUE}' >&2; exit 7")
    told, said = process.communicate(timeout=30)
    assert sorted(told.splitlines()) == ["accessToken: '[hidden]'", "refresh_token=[hidden]"]
    assert (said, process.returncode) == ("", 7), "it ends as the frontend does"


def test_the_web_frontend_is_the_process_that_is_stopped(web: Web) -> None:
    process = web.start("sh", "-c", "echo $$; trap 'echo stops; exit 0' TERM; while :; do sleep 0.05; done")
    assert process.stdout is not None
    assert int(process.stdout.readline()) == process.pid, "Docker signals the first process only"
    process.terminate()
    assert process.communicate(timeout=30)[0] == "stops\n"
    assert process.returncode == 0


def test_the_web_frontend_starts_again_where_it_was_killed(web: Web) -> None:
    """A container that is started anew has its files still."""
    for _ in range(2):
        process = web.start("sh", "-c", "echo up; kill -9 $$")
        assert process.communicate(timeout=30)[0] == "up\n"
    assert stat.S_ISFIFO(web.pipe.stat().st_mode)
    assert web.pipe.stat().st_mode & 0o777 == 0o600


def test_what_is_no_program_ends_the_web_frontend(web: Web) -> None:
    process = web.start("no-such-program")
    process.communicate(timeout=30)
    assert process.returncode == 127
