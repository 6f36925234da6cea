"""Go and Rust: finding them, and getting them where they are missing or too old."""

import io
import os
import pwd
import re
import sys
import threading
import time
from pathlib import Path

import pytest

from toolchain import compilers, system
from toolchain.layout import ToolchainError
from toolchain.pins import Pins
from toolchain.progress import Progress
from toolchain.tests.stand_ins import program, quiet


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
