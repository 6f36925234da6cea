"""What is asked of the machine: Docker, Go, Rust, packages; and how long steps are shown."""

import http.server
import io
import json
import os
import pwd
import re
import socketserver
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from toolchain import checks, compilers, daemon, system
from toolchain.layout import Layout, ToolchainError
from toolchain.pins import Pins
from toolchain.progress import Progress, duration, size

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


def quiet() -> Progress:
    return Progress(io.StringIO())


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
    assert daemon.problems(found, Pins.read(), 0.001) == []


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


# --- Go and Rust ------------------------------------------------------------------------------------------------------


def program(folder: Path, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{textwrap.dedent(body)}\n")
    path.chmod(0o755)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose PATH holds only what the test puts there; nobody's root."""
    folder = tmp_path / "machine"
    folder.mkdir()
    (folder / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("TOOLCHAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GOTOOLCHAIN", "auto")
    monkeypatch.setattr(system, "is_root_on_debian", lambda: False)
    return folder


def test_a_new_enough_go_is_used_as_it_is(bare: Path) -> None:
    program(bare, "go", f"echo go version go{Pins.read().minimum('go')}.0 linux/amd64")
    compilers.ensure_go(Pins.read(), quiet())
    assert os.environ["PATH"] == str(bare)


def test_without_go_there_is_one_clear_line(bare: Path) -> None:
    with pytest.raises(ToolchainError, match=r"none is on PATH. Install it \(https://go.dev"):
        compilers.ensure_go(Pins.read(), quiet())


def module(folder: Path, version: str) -> Path:
    """A `golang.org/toolchain` module as the proxy gives it: no file may be executed."""
    for name in ("bin/go", "bin/gofmt", "pkg/tool/linux_amd64/compile", "src/fmt/print.go"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho go version go{version} linux/amd64\n")
        path.chmod(0o444)
    return folder


def test_an_old_go_fetches_the_pinned_one_as_a_module(bare: Path, tmp_path: Path) -> None:
    pins = Pins.read()
    source = module(tmp_path / "module", pins.version("go"))
    program(
        bare,
        "go",
        f"""\
        [ "$1" = version ] && echo go version go1.19.8 linux/amd64 && exit
        echo "$@" "$GOTOOLCHAIN" "$GOFLAGS" >> {tmp_path}/asked
        echo '{{"Dir": "{source}"}}'""",
    )
    for _ in range(2):
        os.environ["PATH"] = str(bare)
        compilers.ensure_go(pins, quiet())
        assert compilers.go_version() == pins.version("go")
    system_name, arch = system.host_platform()
    asked = (tmp_path / "asked").read_text().splitlines()
    version = f"golang.org/toolchain@v0.0.1-go{pins.version('go')}.{system_name}-{arch}"
    assert asked == [f"mod download -json {version} local -mod=mod"], "fetched once, then kept"
    root = Path(os.environ["PATH"].split(os.pathsep)[0]).parent
    assert os.access(root / "pkg" / "tool" / "linux_amd64" / "compile", os.X_OK)
    assert not os.access(root / "src" / "fmt" / "print.go", os.X_OK) or os.geteuid() == 0
    assert (root / "src" / "fmt" / "print.go").stat().st_mode & 0o111 == 0


def test_two_runs_at_once_fetch_a_compiler_once(bare: Path, tmp_path: Path) -> None:
    pins = Pins.read()
    source = module(tmp_path / "module", pins.version("go"))
    begun, go_on = tmp_path / "begun", tmp_path / "go-on"
    program(
        bare,
        "go",
        f"""\
        echo "$@" >> {begun}
        while [ ! -e {go_on} ] && [ $((turns = turns + 1)) -lt 500 ]; do /bin/sleep 0.02; done
        echo '{{"Dir": "{source}"}}'""",
    )

    class Log(io.StringIO):
        def write(self, text: str) -> int:
            if "waiting for another set-up" in text:
                go_on.touch()
            return super().write(text)

    first = threading.Thread(target=compilers.fetched_go, args=(pins, quiet()), daemon=True)
    first.start()
    while not begun.exists():
        time.sleep(0.01)
    root = compilers.fetched_go(pins, Progress(Log()))
    first.join(10)
    assert len(begun.read_text().splitlines()) == 1
    assert (root / "bin" / "go").exists()


def test_a_compiler_that_was_left_half_copied_is_copied_anew(bare: Path, tmp_path: Path) -> None:
    pins = Pins.read()
    source = module(tmp_path / "module", pins.version("go"))
    program(bare, "go", f'echo \'{{"Dir": "{source}"}}\'')
    with pytest.MonkeyPatch.context() as killed:
        killed.setattr(Path, "rename", lambda *_: sys.exit("killed"))
        with pytest.raises(SystemExit):
            compilers.fetched_go(pins, quiet())
    root = compilers.fetched_go(pins, quiet())
    assert list(root.parent.iterdir()) == [root]


def test_a_compiler_that_cannot_be_fetched_is_one_clear_line(bare: Path) -> None:
    body = '[ "$1" = version ] && echo go version go1.19.8 linux/amd64 && exit\necho \'{"Error": "no proxy"}\'; exit 1'
    program(bare, "go", body)
    with pytest.raises(ToolchainError, match=r"(?s)Go 1\.19\.8 is older than .* no proxy"):
        compilers.ensure_go(Pins.read(), quiet())


@pytest.fixture
def rust(bare: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The machine of `bare`, where the user has no Rust at home and packages go to a `usr` beside it."""

    class Nobody:
        pw_dir = str(tmp_path)

    monkeypatch.setattr(pwd, "getpwuid", lambda _: Nobody)
    monkeypatch.setattr(compilers, "USR", tmp_path / "usr")
    return bare


def rust_programs(folder: Path, cargo: str, rustc: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    program(folder, "cargo", f"echo 'cargo {cargo} (abc 2026-01-01)'")
    program(folder, "rustc", f"echo 'rustc {rustc} (abc 2026-01-01)'")


def test_a_new_enough_rust_is_used_as_it_is(rust: Path) -> None:
    least = Pins.read().minimum("rust")
    rust_programs(rust, f"{least}.0", f"{least}.0")
    compilers.ensure_rust(Pins.read(), quiet())
    assert os.environ["PATH"] == str(rust)


@pytest.mark.parametrize(
    ("cargo", "rustc", "told"), [("1.63.0", "99.0.0", "1.63.0"), ("99.0.0", "1.63.0", "1.63.0"), ("", "", "none")]
)
def test_an_old_rust_or_none_is_one_clear_line(rust: Path, cargo: str, rustc: str, told: str) -> None:
    if cargo:
        rust_programs(rust, cargo, rustc)
    with pytest.raises(ToolchainError, match=rf"on PATH is {told}\. Install it with rustup.* pin the sum") as caught:
        compilers.ensure_rust(Pins.read(), quiet())
    assert "\n" not in str(caught.value)


def without_toolchain(folder: Path) -> None:
    """Leave on PATH what rustup leaves there when it has no toolchain, or a home where it finds none."""
    for name in ("cargo", "rustc"):
        program(folder, name, f"echo 'error: rustup could not choose a version of {name} to run' >&2; exit 1")


def test_a_rustup_without_a_toolchain_is_no_rust(rust: Path) -> None:
    without_toolchain(rust)
    with pytest.raises(ToolchainError, match="on PATH is none"):
        compilers.ensure_rust(Pins.read(), quiet())


class Packages:
    """A Debian or Ubuntu whose packages are given as name → version, and where root may install them."""

    def __init__(self, machine: Path, monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]) -> None:
        self.installed: list[str] = []
        self.updates = 0
        self.versions = versions
        self.refused: set[str] = set()
        monkeypatch.setattr(system, "is_root_on_debian", lambda: True)
        monkeypatch.setattr(system, "apt_candidate", lambda name: self.versions.get(name, ""))
        monkeypatch.setattr(system, "apt_accepts", lambda name: name not in self.refused)
        monkeypatch.setattr(system, "apt_names", self.names)
        monkeypatch.setattr(system, "apt_update", self.update)
        monkeypatch.setattr(system, "apt_install", self.install)

    def names(self, pattern: str) -> list[str]:
        return sorted(name for name in self.versions if re.search(pattern, name))

    def update(self, progress: Progress) -> None:
        self.updates += 1

    def install(self, names: list[str], why: str, progress: Progress) -> None:
        for name in names:
            self.installed.append(name)
            release = name.removeprefix("cargo-")
            folder = compilers.USR / ("bin" if release in ("cargo", "web") else f"lib/rust-{release}/bin")
            version = self.versions[name].partition("+")[0]
            rust_programs(folder, version, version)


@pytest.mark.parametrize(
    ("versions", "chosen"),
    [
        ({"cargo": "0.66.0+ds1-1", "cargo-web": "1.96.0+dfsg1-1~deb12u2"}, "cargo-web"),
        ({"cargo": "1.99.0+dfsg1-1"}, "cargo"),
        (
            {
                "cargo": "1.75.0+dfsg0",
                "cargo-1.85": "1.85.1+dfsg",
                "cargo-1.100": "1.100.0+dfsg",
                "cargo-1.91": "1.91.1+dfsg~22.04",
                "cargo-1.91-doc": "1.91.1+dfsg~22.04",
            },
            "cargo-1.91",
        ),
    ],
)
@pytest.mark.parametrize("shadowed", [True, False])
def test_the_first_package_that_is_new_enough_is_installed_and_used(
    rust: Path, monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], chosen: str, shadowed: bool
) -> None:
    if shadowed:
        without_toolchain(rust)
    packages = Packages(rust, monkeypatch, versions)
    compilers.ensure_rust(Pins.read(), quiet())
    assert packages.installed == [chosen]
    assert versions[chosen].startswith(compilers.rust_version())
    assert os.environ["PATH"].endswith(f":{rust}"), "no other program may come from elsewhere than before"


def test_package_lists_are_fetched_before_no_rust_is_found_in_them(rust: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = Packages(rust, monkeypatch, {"cargo-web": "1.85.0+dfsg3-1~deb12u3"})
    with pytest.raises(ToolchainError, match=r"on PATH is none, and no package that .* brings it\. Install it with"):
        compilers.ensure_rust(Pins.read(), quiet())
    assert (packages.installed, packages.updates) == ([], 1)

    monkeypatch.setattr(
        system, "apt_update", lambda progress: packages.versions.update({"cargo-web": "1.96.0+dfsg1-1~deb12u2"})
    )
    compilers.ensure_rust(Pins.read(), quiet())
    assert packages.installed == ["cargo-web"]


def test_a_package_that_would_remove_another_is_passed_over(rust: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's cargo-web is in conflict with its cargo and rustc."""
    rust_programs(rust, "0.66.0", "1.63.0")
    packages = Packages(rust, monkeypatch, {"cargo": "0.66.0+ds1-1", "cargo-web": "1.96.0+dfsg1-1~deb12u2"})
    packages.refused.add("cargo-web")
    with pytest.raises(ToolchainError, match=r"on PATH is 0\.66\.0, and no package .* brings it\. .*rustup") as caught:
        compilers.ensure_rust(Pins.read(), quiet())
    assert "\n" not in str(caught.value)
    assert packages.installed == []

    packages.versions["cargo-1.91"] = "1.91.1+dfsg"
    compilers.ensure_rust(Pins.read(), quiet())
    assert packages.installed == ["cargo-1.91"]


def test_a_fresh_home_still_finds_the_users_rust(bare: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = tmp_path / "real"
    (real / ".rustup" / "toolchains").mkdir(parents=True)
    fresh = tmp_path / "fresh"
    (fresh / ".rustup").mkdir(parents=True)  # as rustup itself makes it when it is asked for a version
    monkeypatch.setenv("HOME", str(fresh))
    program(bare, "rustc", "echo 'rustc 99.0.0'")
    (real / ".cargo").mkdir()
    program(real / ".cargo" / "bin", "cargo", "echo 'cargo 99.0.0'")

    class User:
        pw_dir = str(real)

    monkeypatch.setattr(pwd, "getpwuid", lambda _: User)
    monkeypatch.setenv("HOME", str(tmp_path / "fresh"))
    for name in ("RUSTUP_HOME", "CARGO_HOME"):
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)
    compilers.ensure_rust(Pins.read(), quiet())
    assert os.environ["RUSTUP_HOME"] == str(real / ".rustup")
    assert str(real / ".cargo" / "bin") in os.environ["PATH"]


# --- Packages, progress, checks ---------------------------------------------------------------------------------------


def test_missing_package_lists_are_fetched_once_needed(bare: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    program(
        bare,
        "apt-get",
        f"""\
        echo "$1 $DEBIAN_FRONTEND" >> {log}
        [ "$1" = update ] && : > {tmp_path}/lists && exit
        [ -e {tmp_path}/lists ]""",
    )
    system.apt_install(["x"], "a test", quiet())
    system.apt_install(["y"], "a test", quiet())
    assert [line.split() for line in log.read_text().splitlines()] == [
        ["install", "noninteractive"],
        ["update", "noninteractive"],
        ["install", "noninteractive"],
        ["install", "noninteractive"],
    ]


def test_the_version_of_a_package_is_that_which_would_be_installed(bare: Path) -> None:
    program(
        bare,
        "apt-cache",
        """\
        [ "$1 $2" = "show --no-all-versions" ] || exit 1
        [ "$3" = tool ] && printf 'Package: tool\\nVersion: 1.96.0+dfsg1-1\\nDepends: x (= 2)\\n'""",
    )
    assert system.apt_candidate("tool") == "1.96.0+dfsg1-1"
    assert system.apt_candidate("other") == ""


def test_packages_are_found_by_name(bare: Path) -> None:
    body = r"""[ "$*" = 'search --names-only ^cargo-[0-9.]+$' ] && printf 'cargo-1.9 - Rust\ncargo-1.10 - Rust\n'"""
    program(bare, "apt-cache", body)
    assert system.apt_names("^cargo-[0-9.]+$") == ["cargo-1.9", "cargo-1.10"]
    assert system.apt_names("^other$") == []


def test_what_is_installed_is_never_removed_for_a_package(bare: Path, tmp_path: Path) -> None:
    program(bare, "apt-get", f'echo "$@" > {tmp_path}/log')
    system.apt_install(["x"], "a test", quiet())
    assert "--no-remove" in (tmp_path / "log").read_text()


def test_whether_a_package_can_be_installed_is_asked_without_installing_it(bare: Path) -> None:
    program(
        bare,
        "apt-get",
        """\
        case "$*" in install*--no-remove*--simulate*) ;; *) exit 1 ;; esac
        for package in "$@"; do :; done
        [ "$package" = harmless ] || exit 100""",
    )
    assert system.apt_accepts("harmless")
    assert not system.apt_accepts("harmful")


def test_a_failing_command_is_told_with_its_last_lines() -> None:
    with pytest.raises(ToolchainError, match="status 4") as caught:
        system.run(["sh", "-c", "seq 100; echo the reason >&2; exit 4"])
    assert "the reason" in str(caught.value)
    assert "\n50\n" not in str(caught.value)


def test_a_long_step_is_mentioned_in_a_log_with_its_time_and_last_line() -> None:
    log = io.StringIO()
    with Progress(log, interval=0.1).step("engine") as step:
        system.run(["sh", "-c", "echo compiling; sleep 0.5"], step=step)
    lines = log.getvalue().splitlines()
    assert lines[0] == "engine …"
    assert any("engine, 0." in line and line.endswith(": compiling") for line in lines[1:-1])
    assert lines[-1].startswith("engine: done in 0.")


def test_a_failed_step_says_so() -> None:
    log = io.StringIO()
    with pytest.raises(ToolchainError), Progress(log).step("engine"):
        raise ToolchainError("x")
    assert log.getvalue().splitlines()[-1].startswith("engine: failed after")


def test_times_and_sizes_are_written_for_people() -> None:
    assert [duration(t) for t in (0.04, 9.94, 12.4, 59.6, 125)] == [
        "0.0 s",
        "9.9 s",
        "12 s",
        "1 min 00 s",
        "2 min 05 s",
    ]
    assert [size(n) for n in (900, 115_000_000)] == ["0.9 kB", "115.0 MB"]


def test_shell_scripts_are_found_by_ending_and_by_first_line() -> None:
    found = checks.shell_scripts(Layout().root)
    assert {"env.sh", ".ci/run"} <= set(found)
    assert not any(name.endswith(".py") for name in found)


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
