"""The commands health checks call: celery's and curl's command lines, and beat's file."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from probe import celery_command, celery_node
from probe.serving import StartupError
from probe.worker import SYNC_SECONDS, Schedule

BROKER = {"CELERY_BROKER_URL": "redis://redis:6379/1"}
CURL = Path(__file__).parents[2] / "images" / "probe" / "bin" / "curl"


def test_the_documented_command_lines_parse() -> None:
    plain = celery_command.parse(["inspect", "ping", "-d", "celery@host", "-t", "10"], BROKER)
    assert plain == celery_command.Ping(
        broker_url="redis://redis:6379/1", nodes=("celery@host",), timeout=10.0, as_json=False
    )
    assert celery_command.parse(["-A", "reflector.worker.app", "inspect", "ping"], BROKER).timeout == 1.0
    given = celery_command.parse(["-b", "redis://other/1", "inspect", "-t2", "ping", "-j", "-d", "a, b"], {})
    assert (given.broker_url, given.nodes, given.as_json) == ("redis://other/1", ("a", "b"), True)
    assert celery_command.parse(["-b", "redis://other/1", "inspect", "ping"], BROKER).broker_url.startswith(
        "redis://redis"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "ping", "--bogus"],
        ["inspect", "active"],
        ["inspect"],
        ["-A", "nosuch.app", "inspect", "ping"],
        ["inspect", "ping", "-t", "soon"],
        ["inspect", "ping", "--dest", "celery@host"],
    ],
)
def test_what_celery_refuses_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        celery_command.parse(arguments, BROKER)
    assert ended.value.code == 2


def test_an_unreachable_broker_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://:hunter22@127.0.0.1:9/1")
    assert celery_command.main(["inspect", "ping", "-t", "1"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Error: ConnectionError")
    assert "hunter22" not in err


class FakeRedis:
    """Lists and keys of one Redis, shared by all its clients."""

    def __init__(self) -> None:
        self.lists: dict[str, asyncio.Queue[str]] = {}
        self.keys: set[str] = set()

    def queue(self, name: str) -> "asyncio.Queue[str]":
        return self.lists.setdefault(name, asyncio.Queue())

    async def set(self, name: str, value: str, ex: int | None = None) -> None:
        self.keys.add(name)

    async def rpush(self, name: str, *values: str) -> None:
        for value in values:
            self.queue(name).put_nowait(value)

    async def blpop(self, names: list[str], timeout: float) -> tuple[str, str] | None:
        try:
            async with asyncio.timeout(timeout):
                return names[0], await self.queue(names[0]).get()
        except TimeoutError:
            return None

    async def expire(self, name: str, time: int) -> None:
        assert time >= 1

    async def scan_iter(self, match: str) -> AsyncIterator[str]:
        for key in self.keys:
            if key.startswith(match.removesuffix("*")):
                yield key


def ask(monkeypatch: pytest.MonkeyPatch, nodes: tuple[str, ...], alive: str | None) -> list[str]:
    """Ping the nodes while one worker lives, or none."""
    store = FakeRedis()

    @asynccontextmanager
    async def connection(url: str, socket_seconds: float = 1.0) -> AsyncIterator[FakeRedis]:
        yield store

    monkeypatch.setattr(celery_node, "connection", connection)
    monkeypatch.setattr(celery_command, "connection", connection)

    async def run() -> list[str]:
        worker = asyncio.ensure_future(celery_node.PingResponder("redis://x", alive).run()) if alive else None
        await asyncio.sleep(0.01)
        try:
            request = celery_command.Ping(broker_url="redis://x", nodes=nodes, timeout=0.3, as_json=False)
            return await celery_command.ping(request)
        finally:
            if worker is not None:
                worker.cancel()

    return asyncio.run(run())


def test_a_living_worker_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(monkeypatch, ("celery@a",), "celery@a") == ["celery@a"]
    assert ask(monkeypatch, (), "celery@a") == ["celery@a"]


def test_a_dead_or_other_worker_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(monkeypatch, ("celery@a",), None) == []
    assert ask(monkeypatch, ("celery@a", "celery@b"), "celery@b") == ["celery@b"]


def test_no_answer_has_celery_s_words_and_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def nobody(request: celery_command.Ping) -> list[str]:
        return []

    monkeypatch.setattr(celery_command, "ping", nobody)
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://redis:6379/1")
    assert celery_command.main(["inspect", "ping"]) == 69
    assert capsys.readouterr().err == "Error: No nodes replied within time constraint\n"


def test_an_answer_has_celery_s_words(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def one(request: celery_command.Ping) -> list[str]:
        return list(request.nodes)

    monkeypatch.setattr(celery_command, "ping", one)
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://redis:6379/1")
    assert celery_command.main(["inspect", "ping", "-d", "celery@vm"]) == 0
    assert capsys.readouterr().out == "->  celery@vm: OK\n        pong\n\n1 node online.\n"
    assert celery_command.main(["inspect", "ping", "-d", "celery@vm", "--json"]) == 0
    assert capsys.readouterr().out == '{"celery@vm": {"ok": "pong"}}\n'


def test_beat_writes_its_file_and_stops_where_it_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SYNC_SECONDS == 300
    schedule = Schedule(tmp_path / "celerybeat-schedule")
    schedule.write()
    before = (tmp_path / "celerybeat-schedule").stat().st_mtime_ns
    monkeypatch.setattr("probe.worker.SYNC_SECONDS", 0.02)

    async def keep() -> None:
        async with asyncio.timeout(0.3):
            await schedule.keep()

    with pytest.raises(TimeoutError):
        asyncio.run(keep())
    assert (tmp_path / "celerybeat-schedule").stat().st_mtime_ns > before
    assert [path.name for path in tmp_path.iterdir()] == ["celerybeat-schedule"]
    with pytest.raises(StartupError, match="cannot be written"):
        Schedule(tmp_path / "missing" / "celerybeat-schedule").write()


class Status(BaseHTTPRequestHandler):
    """Answers the status its path names."""

    def do_GET(self) -> None:
        wants_token = self.path == "/token" and self.headers["Authorization"] != "Bearer t0ken"
        self.send_response((401 if wants_token else 200) if self.path == "/token" else int(self.path.strip("/")))
        self.end_headers()
        self.wfile.write(b"body\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server() -> Iterator[str]:
    running = HTTPServer(("127.0.0.1", 0), Status)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    thread.join()
    running.server_close()


WGET = f"""#!{sys.executable}
import os, shutil, sys, urllib.request
os.environ.pop("no_proxy", None)  # of which busybox knows nothing
options = sys.argv[1:-1]
assert options[:2] == ["-q", "-O"], options
with urllib.request.urlopen(sys.argv[-1]) as answer:
    shutil.copyfileobj(answer, sys.stdout.buffer if options[2] == "-" else open(options[2], "wb"))
"""


@pytest.fixture
def curl(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """The command in an image's place: beside it a wget with the options busybox has, and a proxy nobody is behind."""
    (tmp_path / "wget").write_text(WGET)
    (tmp_path / "wget").chmod(0o755)
    proxy = {"http_proxy": "http://127.0.0.1:9", "no_proxy": "127.0.0.1"}
    env = {"PATH": f"{tmp_path}:/usr/local/bin:/usr/bin:/bin", **proxy}
    return lambda *arguments, stdin="": subprocess.run(
        ["sh", str(CURL), *arguments], capture_output=True, text=True, check=False, env=env, input=stdin
    )


def test_curl_fails_where_curl_fails(server: str, curl: Callable[..., "subprocess.CompletedProcess[str]"]) -> None:
    assert curl("-fsS", "-m", "5", "-o", "/dev/null", f"{server}/200").returncode == 0
    assert curl("-f", f"{server}/200").stdout == "body\n"
    assert curl("-fsS", "-m", "5", "-o", "/dev/null", f"{server}/503").returncode == 22
    assert curl("-fsS", "-m", "1", "-o", "/dev/null", "http://127.0.0.1:9/").returncode == 22


def test_curl_takes_headers_from_standard_input_and_tells_the_status(
    server: str, curl: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    asked = ("-sS", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "-H", "@-")
    accepted = curl(*asked, f"{server}/token", stdin="Authorization: Bearer t0ken\n")
    assert (accepted.returncode, accepted.stdout) == (0, "200")
    refused = curl(*asked, f"{server}/token", stdin="Authorization: Bearer other\n")
    assert (refused.returncode, refused.stdout) == (0, "401")
    unreachable = curl(*asked, "http://127.0.0.1:9/token", stdin="Authorization: Bearer t0ken\n")
    assert (unreachable.returncode, unreachable.stdout) == (7, "000")
    by_argument = [*asked[:-1], "Authorization: Bearer t0ken"]
    assert curl(*by_argument, f"{server}/token").returncode == 2, "it would be an argument"


@pytest.mark.parametrize(
    "arguments",
    [
        ["http://127.0.0.1:9/"],
        ["-f"],
        ["-fk", "http://127.0.0.1:9/"],
        ["-X", "POST"],
        ["-f", "-w", "x", "http://127.0.0.1:9/"],
    ],
)
def test_curl_refuses_what_it_does_not_do(
    arguments: list[str], curl: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    assert curl(*arguments).returncode == 2
