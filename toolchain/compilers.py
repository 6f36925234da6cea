"""The compilers the registry builds need: Go and Rust, and how to get them where that is possible."""

import json
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

from toolchain import system
from toolchain.layout import ToolchainError, cache_root
from toolchain.locks import locked
from toolchain.parts import remove
from toolchain.pins import Pins
from toolchain.progress import Progress

USR = Path("/usr")
"""Where Debian's packages lie."""

_RUST_PACKAGES = ("cargo-web", "cargo")
"""Packages that bring `cargo` and `rustc`; Debian keeps the first new enough to build browsers in a stable release."""

_GO_REMEDY = "Install it (https://go.dev/doc/install) and put its bin folder on PATH."


def go_version(program: str = "go") -> str:
    """Return the version of a Go command, such as "1.26.8", or "" when there is none."""
    found = re.search(r"go version go(\d[\w.]*)", system.output([program, "version"]))
    return found.group(1) if found else ""


def ensure_go(pins: Pins, progress: Progress) -> None:
    """Make `go` on PATH new enough for the registry builds, for this process and what it starts.

    A machine's own Go that is too old can still fetch the pinned compiler as a module from the Go module proxy, where
    every Go release is published for exactly this purpose. As root on Debian a missing Go is installed first.
    """
    least = pins.minimum("go")
    if system.version_tuple(go_version()) >= system.version_tuple(least):
        return
    if shutil.which("go") is None:
        if not system.is_root_on_debian():
            raise ToolchainError(
                f"To build from the registries Go {least} or newer is needed; none is on PATH. {_GO_REMEDY}"
            )
        system.apt_install(["golang-go", "ca-certificates"], "Go", progress)
    if system.version_tuple(go_version()) >= system.version_tuple(least):
        return
    root = fetched_go(pins, progress)
    os.environ["PATH"] = f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"
    os.environ["GOTOOLCHAIN"] = "local"
    os.environ.pop("GOROOT", None)


def fetched_go(pins: Pins, progress: Progress) -> Path:
    """Return the root of the pinned Go, fetched as module `golang.org/toolchain` through the user's own Go settings."""
    version = pins.version("go")
    system_name, arch = system.host_platform()
    root = cache_root() / "go" / f"{version}-{system_name}-{arch}"
    with locked(cache_root() / "locks" / "go.lock", f"Go {version}", progress):
        if not (root / "bin" / "go").exists():
            _fetch_go(pins, f"golang.org/toolchain@v0.0.1-go{version}.{system_name}-{arch}", root, progress)
    return root


def _fetch_go(pins: Pins, module: str, root: Path, progress: Progress) -> None:
    version = pins.version("go")
    with progress.step(f"Go {version}: fetching {module}"):
        # Outside any module, so that no go.mod of ours can interfere with the old command; it checks the module's sum.
        done = subprocess.run(
            ["go", "mod", "download", "-json", module],
            cwd="/",
            env={**os.environ, "GO111MODULE": "on", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"},
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            answer = json.loads(done.stdout)
        except json.JSONDecodeError:
            answer = {"Error": done.stderr.strip()}
        if answer.get("Error") or "Dir" not in answer:
            raise ToolchainError(
                f"Go {go_version() or 'on PATH'} is older than {pins.minimum('go')}, and Go {version} could not be"
                " fetched:"
                f" {answer.get('Error') or done.stderr.strip()}\n{_GO_REMEDY}"
            )
        install_go(Path(answer["Dir"]), root)


def install_go(module: Path, root: Path) -> None:
    """Copy an unpacked `golang.org/toolchain` module to `root`, with the executable bits modules do not carry."""
    draft = root.with_name(f"{root.name}.draft")
    if draft.exists():  # a run that was killed left it
        remove(draft)
    shutil.copytree(module, draft, copy_function=shutil.copyfile)
    for folder in (draft / "bin", draft / "pkg" / "tool"):
        for path in folder.rglob("*"):
            if path.is_file():
                path.chmod(0o755)
    for path in (draft / "lib" / "wasm", draft / "misc"):
        for script in path.rglob("*_exec") if path.exists() else ():
            script.chmod(0o755)
    draft.rename(root)


def rust_version() -> str:
    """Return the version of the Rust on PATH, such as "1.95.0", or "" when `cargo` or `rustc` is missing or fails.

    rustup puts both on PATH even where it has no toolchain that they could start.
    """
    versions = []
    for name in ("cargo", "rustc"):
        found = re.match(rf"{name} (\d[\w.]*)", system.output([name, "--version"]))
        if found is None:
            return ""
        versions.append(found.group(1))
    return min(versions, key=system.version_tuple)


def ensure_rust(pins: Pins, progress: Progress) -> None:
    """Make the Rust on PATH new enough for the registry build of Garage, for this process and what it starts.

    A user's own that is too old or missing is left as it is; as root on Debian or Ubuntu a package that is new enough
    is installed beside it.
    """
    _find_users_rust()
    least = pins.minimum("rust")
    if system.version_tuple(rust_version()) >= system.version_tuple(least):
        return
    packages = system.is_root_on_debian()
    if packages and (package := _rust_package(least, progress)):
        system.apt_install([package], "Rust", progress)
        _prefer_rust(
            USR / "bin" if package in _RUST_PACKAGES else USR / "lib" / package.replace("cargo", "rust") / "bin"
        )
    version = rust_version()
    if system.version_tuple(version) < system.version_tuple(least):
        unpackaged = ", and no package that leaves the others in place brings it" if packages else ""
        raise ToolchainError(
            f"To build Garage Rust {least} or newer is needed; on PATH is {version or 'none'}{unpackaged}. Install it"
            " with rustup (https://rustup.rs), pin the sum of Garage's official release"
            f" (docs/mirrors-and-air-gap.md), or put a garage {pins.version('garage')} on PATH."
        )


def _find_users_rust() -> None:
    """Let rustup's commands find the toolchains of the user's real home, and PATH the commands.

    They look below HOME, which may not be the user's own (a fresh one in CI). A folder alone tells nothing: rustup
    makes an empty one when it is asked.
    """
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    toolchains = Path(".rustup") / "toolchains"
    if "RUSTUP_HOME" not in os.environ and not (Path.home() / toolchains).exists() and (home / toolchains).exists():
        os.environ["RUSTUP_HOME"] = str(home / ".rustup")
    cargo_bin = home / ".cargo" / "bin"
    if shutil.which("cargo") is None and (cargo_bin / "cargo").exists():
        os.environ["PATH"] = f"{cargo_bin}{os.pathsep}{os.environ['PATH']}"


def _rust_package(least: str, progress: Progress) -> str:
    """Return the first Debian package that can be installed with a cargo of at least the version `least`, or ""."""
    for fresh in (False, True):
        if fresh:
            system.apt_update(progress)
        # Ubuntu has further versions as cargo-1.91 and so on.
        names = system.apt_names("^cargo-[0-9.]+$")
        numbered = sorted(names, key=lambda name: system.version_tuple(name.removeprefix("cargo-")))
        for package in (*_RUST_PACKAGES, *numbered):
            version = system.apt_candidate(package)
            # Debian's cargo-web is in conflict with its cargo, which may be there already.
            if system.version_tuple(version) >= system.version_tuple(least) and system.apt_accepts(package):
                return package
    return ""


def _prefer_rust(folder: Path) -> None:
    """Put `cargo` and `rustc` of `folder` first on PATH, but nothing else that lies there."""
    links = cache_root() / "rust"
    links.mkdir(parents=True, exist_ok=True)
    for name in ("cargo", "rustc"):
        draft = links / f".{name}.{os.getpid()}"
        draft.symlink_to(folder / name)
        draft.replace(links / name)
    os.environ["PATH"] = f"{links}{os.pathsep}{os.environ['PATH']}"
