"""The entry points of the development images, run with stand-ins for what they start."""

import os
import subprocess
from pathlib import Path

import pytest

from toolchain.layout import ROOT
from toolchain.tests.stand_ins import put


class Container:
    """Runs an entry point with programs that only record what they were given."""

    def __init__(self, root: Path, image: str) -> None:
        self.root = root
        self.script = ROOT / "images" / image / "docker-entrypoint.sh"
        self.bin = root / "bin"
        self.data = root / "data"
        self.data.mkdir(parents=True)
        self.tool("id", "case ${1:-} in -u) echo 70 ;; -g) echo 70 ;; esac")
        # Makes what the real one makes that matters here, and keeps the password it reads.
        self.tool(
            "initdb",
            """
            for argument; do case $argument in --pgdata=*) new=${argument#*=} ;; esac; done
            mkdir -p "$new/base"
            echo 15 > "$new/PG_VERSION"
            : > "$new/postgresql.conf"
            : > "$new/pg_hba.conf"
            echo "initdb $*" >> "$LOG"
            echo "password $(cat)" >> "$LOG"
            exit "${INITDB_STATUS:-0}"
            """,
        )
        self.tool(
            "postgres",
            """
            echo "postgres $*" >> "$LOG"
            case ${1:-} in
            --single) echo "sql $(cat)" >> "$LOG" ;;
            *) echo "secret ${POSTGRES_PASSWORD:-none}" >> "$LOG" ;;
            esac
            """,
        )
        self.tool("redis-server", 'echo "redis-server $*" >> "$LOG"')

    def tool(self, name: str, body: str) -> None:
        put(self.bin / name, f"#!/bin/sh\n{body}\n", 0o755)

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        settings = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "LOG": str(self.root / "log"),
            "PGDATA": str(self.data),
            **environment,
        }
        done = subprocess.run(
            ["sh", str(self.script), *arguments], env=settings, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    @property
    def log(self) -> list[str]:
        path = self.root / "log"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def postgres(tmp_path: Path) -> Container:
    return Container(tmp_path, "postgres")


def test_postgres_makes_its_cluster_on_an_empty_volume_and_then_serves(postgres: Container) -> None:
    status, output = postgres.run(
        "postgres",
        "-c",
        "max_connections=200",
        POSTGRES_USER="reflector",
        POSTGRES_PASSWORD="pass word",
        POSTGRES_DB='a"b',
    )

    assert status == 0, output
    new = postgres.data / "initialising"
    initdb, password, single, sql, server, secret = postgres.log
    assert f"--pgdata={new}" in initdb
    assert "--username=reflector" in initdb
    assert "--auth-host=scram-sha-256" in initdb
    assert "pass word" not in initdb
    assert password == "password pass word"
    assert single.startswith(f"postgres --single -F -D {new}")
    assert sql == 'sql CREATE DATABASE "a""b";'
    assert server == "postgres -c max_connections=200"
    assert secret == "secret none"
    assert not new.exists()
    assert (postgres.data / "PG_VERSION").read_text() == "15\n"
    assert "host all all all scram-sha-256" in (postgres.data / "pg_hba.conf").read_text()
    assert "listen_addresses = '*'" in (postgres.data / "postgresql.conf").read_text()


def test_postgres_serves_an_existing_cluster_without_a_password(postgres: Container) -> None:
    put(postgres.data / "PG_VERSION", "15\n")

    status, output = postgres.run("postgres")

    assert status == 0, output
    assert postgres.log == ["postgres ", "secret none"]


def test_postgres_reads_its_password_from_a_file(postgres: Container) -> None:
    secret = put(postgres.root / "secret", "from-file\n")

    status, output = postgres.run("-c", "work_mem=1MB", POSTGRES_PASSWORD_FILE=str(secret))

    assert status == 0, output
    assert "password from-file" in postgres.log
    assert postgres.log[-2] == "postgres -c work_mem=1MB"
    assert not any("CREATE DATABASE" in line for line in postgres.log), "the database postgres is there already"


def test_postgres_passes_more_arguments_to_initdb(postgres: Container) -> None:
    status, output = postgres.run(POSTGRES_PASSWORD="x", POSTGRES_INITDB_ARGS="--data-checksums --wal-segsize=32")

    assert status == 0, output
    assert postgres.log[0].endswith("--data-checksums --wal-segsize=32")


def test_postgres_begins_an_interrupted_first_start_anew(postgres: Container) -> None:
    put(postgres.data / "initialising" / "PG_VERSION", "15\n")
    put(postgres.data / "global" / "pg_control", "half")

    status, output = postgres.run(POSTGRES_PASSWORD="x")

    assert status == 0, output
    assert "interrupted" in output
    assert not (postgres.data / "global").exists()
    assert (postgres.data / "PG_VERSION").exists()


def test_postgres_leaves_no_cluster_when_making_it_fails(postgres: Container) -> None:
    status, _ = postgres.run(POSTGRES_PASSWORD="x", INITDB_STATUS="1")

    assert status != 0
    assert not (postgres.data / "PG_VERSION").exists()
    assert not any(line.startswith("postgres") for line in postgres.log)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "no password for the superuser postgres: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE"),
        (
            {"POSTGRES_PASSWORD": "a", "POSTGRES_PASSWORD_FILE": "/b"},
            "both POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE",
        ),
        ({"POSTGRES_PASSWORD_FILE": "/nowhere/secret"}, "/nowhere/secret is not readable by 70:70"),
        ({"POSTGRES_PASSWORD": "a", "PGDATA": "/nowhere/data"}, "/nowhere/data is missing or not writable"),
    ],
)
def test_postgres_says_what_it_lacks(postgres: Container, environment: dict[str, str], message: str) -> None:
    status, output = postgres.run("postgres", **environment)

    assert status == 1
    assert message in output
    assert postgres.log == []


def test_postgres_touches_no_foreign_files(postgres: Container) -> None:
    put(postgres.data / "holiday.jpg", "x")

    status, output = postgres.run(POSTGRES_PASSWORD="x")

    assert status == 1
    assert "holds files but no PG_VERSION" in output
    assert (postgres.data / "holiday.jpg").exists()


def test_postgres_does_not_run_as_root(postgres: Container) -> None:
    postgres.tool("id", "echo 0")

    status, output = postgres.run("postgres", POSTGRES_PASSWORD="x")

    assert status == 1
    assert "run the container as 70:70" in output


def test_postgres_runs_other_commands_as_they_are(postgres: Container) -> None:
    status, output = postgres.run("echo", "hello")

    assert (status, output) == (0, "hello\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "redis-server --protected-mode no"),
        (["redis-server"], "redis-server --protected-mode no"),
        (["--appendonly", "yes"], "redis-server --protected-mode no --appendonly yes"),
        (["redis-server", "--appendonly", "yes"], "redis-server --protected-mode no --appendonly yes"),
        (["/etc/redis.conf", "--port", "1"], "redis-server /etc/redis.conf --protected-mode no --port 1"),
        (["redis-server", "/etc/redis.conf"], "redis-server /etc/redis.conf --protected-mode no"),
    ],
)
def test_redis_is_started_as_by_the_official_image(tmp_path: Path, arguments: list[str], expected: str) -> None:
    redis = Container(tmp_path, "redis")

    status, output = redis.run(*arguments)

    assert status == 0, output
    assert redis.log == [expected]
