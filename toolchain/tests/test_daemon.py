"""Docker: what is asked of its daemon and its command, and how they are installed and started."""

import http.server
import io
import json
import os
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from toolchain import daemon, system
from toolchain.layout import Layout, ToolchainError
from toolchain.pins import Pins
from toolchain.progress import Progress
from toolchain.tests.stand_ins import program, quiet

GOOD: dict[str, Any] = {
    "/version": {"Version": "20.10.24+dfsg1", "ApiVersion": "1.41"},
    "/info": {"CgroupVersion": "1", "Driver": "overlay2", "OperatingSystem": "Debian", "DockerRootDir": "/"},
}


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def answer(path: Path, answers: dict[str, Any]) -> _Server:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answers[self.path]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *args: object) -> None:
            """Keep the test's output quiet."""

    server = _Server(str(path), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    path, answers = tmp_path / "docker.sock", json.loads(json.dumps(GOOD))
    server = answer(path, answers)
    yield path, answers
    server.shutdown()
    server.server_close()


def test_a_good_daemon_is_accepted(docker: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    found = daemon.ensure(Layout(tmp_path), Pins.read(), quiet(), docker[0], free_gib=0.001)
    assert (found.version, found.api, found.cgroup_version) == ("20.10.24+dfsg1", "1.41", "1")
    assert "Docker 20.10.24+dfsg1, API 1.41, cgroups v1" in daemon.describe(found)[0]


@pytest.mark.parametrize(
    ("path", "key", "value", "message"),
    [
        ("/version", "Version", "19.03.1", "engine is 19.03.1; at least 20.10"),
        ("/version", "ApiVersion", "1.40", "API is 1.40; at least 1.41"),
        ("/info", "CgroupVersion", "", "no cgroups"),
    ],
)
def test_a_daemon_that_will_not_do_is_refused(
    docker: tuple[Path, dict[str, Any]], tmp_path: Path, path: str, key: str, value: str, message: str
) -> None:
    docker[1][path][key] = value
    with pytest.raises(ToolchainError, match=message):
        daemon.ensure(Layout(tmp_path), Pins.read(), quiet(), docker[0], free_gib=0.001)


def test_too_little_disk_is_refused(docker: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match=r"GiB free; at least 1e\+06 GiB"):
        daemon.ensure(Layout(tmp_path), Pins.read(), quiet(), docker[0], free_gib=1e6)


def test_versions_are_compared_by_number(docker: tuple[Path, dict[str, Any]]) -> None:
    docker[1]["/version"] = {"Version": "28.2.2", "ApiVersion": "1.100"}
    found = daemon.facts(docker[0])
    assert found is not None
    assert daemon.engine_problems(found, Pins.read(), 0.001) == []


def test_no_daemon_and_no_right_to_install_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "is_root_on_debian", lambda: False)
    with pytest.raises(ToolchainError, match=r"No Docker daemon answers on .*docker_host"):
        daemon.ensure(Layout(tmp_path), Pins.read(), quiet(), tmp_path / "docker.sock")


FAKE_DOCKERD = """#!{python}
import http.server, json, os, signal, socketserver, sys, threading
ANSWERS = {answers!r}
if os.environ.get("FAKE") == "broken":
    print("failed to start: no iptables", flush=True)
    sys.exit(1)
assert os.getsid(0) == os.getpid(), "not in a session of its own"
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(ANSWERS[self.path]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def address_string(self):
        return "unix"
class Server(socketserver.UnixStreamServer):
    pass
signal.alarm(20)  # never outlives the test
server = Server({socket!r}, Handler)
open({pid!r}, "w").write(str(os.getpid()))
server.serve_forever()
"""


@pytest.fixture
def fake_dockerd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Root on a Debian machine without systemd, with a `dockerd` on PATH that answers like a good one."""
    path, pid = tmp_path / "docker.sock", tmp_path / "pid"
    program = tmp_path / "bin" / "dockerd"
    program.parent.mkdir()
    program.write_text(FAKE_DOCKERD.format(python=sys.executable, answers=GOOD, socket=str(path), pid=str(pid)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(daemon, "SOCKET", path)
    monkeypatch.setattr(daemon, "SYSTEMD", tmp_path / "systemd")
    monkeypatch.setattr(system, "is_root_on_debian", lambda: True)
    yield path
    if pid.exists():
        os.kill(int(pid.read_text()), 9)


def test_a_missing_daemon_is_started(fake_dockerd: Path, tmp_path: Path) -> None:
    log = io.StringIO()
    found = daemon.ensure(Layout(tmp_path), Pins.read(), Progress(log), fake_dockerd, free_gib=0.001)
    assert found.version == "20.10.24+dfsg1"
    assert "installing and starting one" in log.getvalue()


def test_a_daemon_that_dies_is_reported_with_its_last_lines(
    fake_dockerd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE", "broken")
    started = time.monotonic()
    with pytest.raises(ToolchainError, match="no iptables"):
        daemon.ensure(Layout(tmp_path), Pins.read(), quiet(), fake_dockerd)
    assert time.monotonic() - started < daemon.START_SECONDS / 2


def test_docker_is_installed_with_what_its_daemon_needs(
    fake_dockerd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "packages"
    (tmp_path / "bin").rename(packages)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    installed: list[str] = []

    def install(names: list[str], why: str, progress: Progress) -> None:
        installed.extend(names)
        packages.rename(tmp_path / "bin")

    monkeypatch.setattr(system, "apt_install", install)
    daemon.ensure(Layout(tmp_path), Pins.read(), quiet(), fake_dockerd, free_gib=0.001)
    assert installed == ["docker.io", "iptables"]


def systemd(bin_folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> Path:
    """Put systemd in charge of the machine, with a `systemctl` that does `body`; return the log of its arguments."""
    log = bin_folder.parent / "systemctl.log"
    monkeypatch.setattr(daemon, "SYSTEMD", bin_folder)
    program(bin_folder, "systemctl", f'echo "$@" >> {log}\n{body}')
    return log


def test_a_missing_daemon_is_started_by_systemd_where_that_is_in_charge(
    fake_dockerd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = systemd(tmp_path / "bin", monkeypatch, "setsid dockerd > /dev/null 2>&1 &")
    found = daemon.ensure(Layout(tmp_path), Pins.read(), quiet(), fake_dockerd, free_gib=0.001)
    assert found.version == "20.10.24+dfsg1"
    assert log.read_text() == "enable --now docker\n"
    assert not (Layout(tmp_path).logs / "dockerd.log").exists()


def test_a_daemon_of_systemd_that_does_not_answer_is_reported_with_where_its_log_is(
    fake_dockerd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd(tmp_path / "bin", monkeypatch, "exit 0")
    monkeypatch.setattr(daemon, "START_SECONDS", 0.1)
    with pytest.raises(ToolchainError, match=r"did not come up .*journalctl --unit docker"):
        daemon.ensure(Layout(tmp_path), Pins.read(), quiet(), fake_dockerd)


@pytest.mark.parametrize(
    ("packages", "chosen"),
    [(["docker.io"], "docker.io"), (["docker.io", "docker-cli"], "docker-cli")],
)
@pytest.mark.parametrize("listed", [True, False])  # an installed docker.io is known without any list
def test_a_missing_docker_command_is_installed_as_root_on_debian(
    bare: Path, monkeypatch: pytest.MonkeyPatch, packages: list[str], chosen: str, listed: bool
) -> None:
    """It is part of Debian 12's docker.io, and a package of its own that nothing depends on in Debian 13."""
    known = packages if listed else ["docker.io"]
    installed: list[str] = []

    def install(names: list[str], why: str, progress: Progress) -> None:
        installed.extend(names)
        program(bare, "docker", "exit 0")

    monkeypatch.setattr(system, "is_root_on_debian", lambda: True)
    monkeypatch.setattr(system, "apt_candidate", lambda name: "26.1.5" if name in known else "")
    monkeypatch.setattr(system, "apt_update", lambda progress: known.extend(packages))
    monkeypatch.setattr(system, "apt_install", install)
    for _ in range(2):
        daemon.ensure_command(quiet())
    assert installed == [chosen]


def test_a_missing_docker_command_elsewhere_is_one_clear_line(bare: Path) -> None:
    with pytest.raises(ToolchainError, match=r"no docker command on PATH.*Install it \(https://docs\.docker") as caught:
        daemon.ensure_command(quiet())
    assert "\n" not in str(caught.value)
    program(bare, "docker", "exit 0")
    daemon.ensure_command(quiet())


def test_the_note_of_a_docker_daemon_that_is_no_more_is_removed(tmp_path: Path) -> None:
    note = tmp_path / "docker.pid"
    for stale in (str(os.getpid()), "4194305", "no number"):  # this is no dockerd; above the kernel's highest; garbage
        note.write_text(stale)
        daemon.remove_stale_pid_file(note)
        assert not note.exists(), stale
    daemon.remove_stale_pid_file(note)


def test_the_note_of_a_running_docker_daemon_is_kept(tmp_path: Path) -> None:
    dockerd = tmp_path / "dockerd"
    dockerd.symlink_to("/bin/sleep")
    note = tmp_path / "docker.pid"
    running = subprocess.Popen([dockerd, "60"])
    try:
        # The kernel names a process a moment after Popen has returned.
        while Path(f"/proc/{running.pid}/comm").read_text().strip() != "dockerd":
            time.sleep(0.01)
        note.write_text(str(running.pid))
        daemon.remove_stale_pid_file(note)
        assert note.exists()
    finally:
        running.kill()
        running.wait()
