"""How the parts of the development images are built from package registries alone.

`python3 -m toolchain.recipes PART OUT` builds one part into the folder OUT, printing progress as it goes:

| part   | leaves in OUT                         | made from                                  |
|--------|---------------------------------------|--------------------------------------------|
| caddy  | `caddy`                               | Go module proxy                            |
| garage | `garage`                              | Rust crate registry                        |
| ollama | `ollama`                              | Go module proxy, two Debian header packages |
| rootfs | `base.tar`, `postgres.tar`, `redis.tar` | Debian packages                          |
| model  | `model.gguf`                          | PyPI                                       |
| probe  | `site-packages/`                      | PyPI                                       |

Every build is for Linux on this machine's architecture, which is what the containers run on.
"""

import hashlib
import importlib.util
import inspect
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain import system
from toolchain.layout import ROOT, ToolchainError, cache_root
from toolchain.pins import Pins
from toolchain.progress import Progress

IMAGES = ROOT / "images"
"""Sources of the images."""

PYTHON_VERSION = "3.11"
"""Python of Debian 12, which the probe runs on."""

GLIBC_VERSION = (2, 36)
"""C library of Debian 12."""


# --- Programs ---------------------------------------------------------------------------------------------------------


def build_caddy(out: Path) -> None:
    """Build `caddy`, statically linked."""
    version = Pins.read().version("caddy")
    _go_build(
        f"github.com/caddyserver/caddy/v2@v{version}",
        "./cmd/caddy",
        out / "caddy",
        # Caddy reads its version from the build's list of dependencies, in which the main module is not.
        stamps={"github.com/caddyserver/caddy/v2.CustomVersion": f"v{version}"},
        environment={"CGO_ENABLED": "0"},
    )


def build_ollama(out: Path) -> None:
    """Build `ollama` for the processor, statically linked; Go keeps what was compiled before an interruption."""
    pins = Pins.read()
    version = pins.version("ollama")
    # The published module lacks a vendored header, because module archives leave such folders out (Debian has the two
    # others). Its path is part of what Go caches compiled packages under, so it is the same after an interruption.
    include = cache_root() / "build" / f"ollama-{version}"
    (include / "miniaudio").mkdir(parents=True, exist_ok=True)
    malgo = _go_module(f"github.com/gen2brain/malgo@v{pins.data['recipes']['malgo']}")
    shutil.copyfile(malgo / "miniaudio.h", include / "miniaudio" / "miniaudio.h")
    flags = f"-O2 '-I{include}'"  # Go splits them at spaces
    _go_build(
        f"github.com/ollama/ollama@v{version}",
        ".",
        out / "ollama",
        stamps={
            "github.com/ollama/ollama/version.Version": version,
            "github.com/ollama/ollama/server.mode": "release",
        },
        # Like Garage, whatever C library this machine has. Go then looks up names by itself.
        tags="netgo,osusergo",
        environment={"CGO_ENABLED": "1", "CGO_CFLAGS": flags, "CGO_CXXFLAGS": flags, "CGO_LDFLAGS": "-static"},
    )
    shutil.rmtree(include)


GARAGE_FEATURES = ("bundled-libs", "lmdb")
"""What a single node with S3 needs; the defaults add a second database engine, a key-value API and metrics."""

GARAGE_PROFILE = {
    "lto": '"off"',
    "debug": "false",
    "opt-level": "1",
    # Garage's own crates are where the time goes, thousands of instances of generic code, and not where the work is
    # done: hashing and the database are in others. Unoptimised, an upload of 200 MB still went through at 30 to 40 MB/s
    # on two busy cores.
    **{
        f"package.{name}.opt-level": "0"
        for name in (
            *("clap", "garage", "garage_api_admin", "garage_api_common", "garage_api_s3", "garage_block", "garage_db"),
            *("garage_model", "garage_net", "garage_rpc", "garage_table", "garage_util", "garage_web"),
        )
    },
}
"""Cargo's release profile (key → TOML value) for a short build: 5 min of processor time."""


def build_garage(out: Path) -> None:
    """Build `garage`, statically linked; what was compiled before an interruption is kept for the next attempt."""
    version = Pins.read().version("garage")
    target = cache_root() / "build" / f"garage-{version}"
    # No checksums are published for its releases, so it is compiled on most machines, and many have a newer C library
    # than the images. With the target named, the flags are for it alone, and not for build scripts and macros.
    environment = {"RUSTFLAGS": "-C target-feature=+crt-static"}
    sodium = Path(f"/usr/lib/{platform.machine()}-linux-gnu/libsodium.a")
    if sodium.exists():
        # Debian's static library saves compiling the bundled copy.
        environment["SODIUM_LIB_DIR"] = str(sodium.parent)
    with tempfile.TemporaryDirectory(dir=out) as work:
        _run(
            [
                *("cargo", "install", "garage", "--version", version, "--locked"),
                *("--no-default-features", "--features", ",".join(GARAGE_FEATURES)),
                *("--root", work, "--no-track", "--target-dir", str(target)),
                *("--target", _rust_host()),
                *(f"--config=profile.release.{key}={value}" for key, value in GARAGE_PROFILE.items()),
            ],
            environment=environment,
        )
        # Cargo's own setting for this does not reach a package whose profile is overridden.
        _run(["strip", str(Path(work) / "bin" / "garage")])
        (Path(work) / "bin" / "garage").rename(out / "garage")
    shutil.rmtree(target)


def _rust_host() -> str:
    """Return what the Rust compiler calls this machine, for example x86_64-unknown-linux-gnu."""
    said = system.output(["rustc", "--version", "--verbose"])
    found = re.search(r"^host: (\S+)$", said, re.MULTILINE)
    if found is None:
        raise ToolchainError(f"`rustc --version --verbose` names no host: {said or 'it says nothing'}")
    return found[1]


# --- Root file systems ------------------------------------------------------------------------------------------------


def build_rootfs(out: Path) -> None:
    """Make `base.tar` and its layers `postgres.tar` and `redis.tar`: as root on Debian here, else in a container."""
    if system.is_root_on_debian():
        _run(["sh", str(IMAGES / "rootfs.sh"), str(out)])
        return
    archive = out / "rootfs.tar"
    with archive.open("wb") as sink, (IMAGES / "rootfs.sh").open("rb") as script:
        done = subprocess.run(container_command(Pins.read()), stdin=script, stdout=sink, check=False)
    if done.returncode != 0:
        raise ToolchainError(
            f"Debian's packages could not be put together in a container (docker ended with status {done.returncode})."
            " This machine is not Debian run by root, so `docker run` with a Debian image is needed: see above."
        )
    with tarfile.open(archive) as source:
        # Debian 12's own Python has no filters yet, and takes no such argument.
        source.extraction_filter = getattr(tarfile, "data_filter", None)
        source.extractall(out)
    archive.unlink()


def container_command(pins: Pins) -> list[str]:
    """Return the command that reads rootfs.sh on its input and writes its results as one tar archive on its output."""
    script = (
        "{ apt-get update && apt-get install -y --no-install-recommends mmdebstrap debian-archive-keyring"
        " && sh -s /out; } >&2 && tar --create --directory /out ."
    )
    # mmdebstrap mounts /proc in the root it makes.
    rights = ["--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"]
    return [
        "docker",
        "run",
        "--rm",
        "--interactive",
        *rights,
        str(pins.data["recipes"]["debian_image"]),
        "sh",
        "-c",
        script,
    ]


# --- From PyPI --------------------------------------------------------------------------------------------------------


def build_model(out: Path) -> None:
    """Write `model.gguf`, the stand-in language model; the same bytes every time."""
    versions = Pins.read().data["recipes"]
    with tempfile.TemporaryDirectory(dir=out) as work:
        packages = [f"{name}=={versions[name]}" for name in ("gguf", "numpy")]
        # Only the writer is used, which needs nothing of gguf's further dependencies.
        _pip_install(Path(work), ["--no-deps", "--target", work, *packages])
        _run([sys.executable, str(IMAGES / "model.py"), str(out / "model.gguf")], environment={"PYTHONPATH": work})


def build_probe(out: Path) -> None:
    """Install what the probe runs on into `site-packages/`, for the images' Python and not for this machine's."""
    target = out / "site-packages"
    with tempfile.TemporaryDirectory(dir=out) as work:
        _pip_install(
            Path(work),
            [
                *("--no-deps", "--requirement", str(IMAGES / "probe" / "requirements.txt")),
                *("--implementation", "cp", "--python-version", PYTHON_VERSION),
                *(f"--platform={name}" for name in wheel_platforms(platform.machine())),
                *("--target", str(target)),
            ],
        )
    # Launchers with this machine's path of Python in their first line.
    shutil.rmtree(target / "bin", ignore_errors=True)


def wheel_platforms(machine: str) -> list[str]:
    """Return the wheel platforms Debian 12 (glibc 2.36) can load, newest first."""
    machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(machine, machine)
    newest = GLIBC_VERSION[1]
    # 2.5 is the oldest any wheel names; three of the versions have names of their own (PEP 513, 571, 599).
    return [
        *(f"manylinux_2_{minor}_{machine}" for minor in range(newest, 4, -1)),
        *(f"manylinux{name}_{machine}" for name in ("2014", "2010", "1")),
    ]


def _pip_install(work: Path, arguments: Sequence[str]) -> None:
    python = sys.executable
    if importlib.util.find_spec("pip") is None:  # Debian's Python comes without
        _run([sys.executable, "-m", "venv", str(work / "venv")])
        python = str(work / "venv" / "bin" / "python")
    options = ["--disable-pip-version-check", "--no-compile", "--only-binary=:all:", "--progress-bar=off"]
    _run([python, "-m", "pip", "install", *options, *arguments], environment={"PIP_ROOT_USER_ACTION": "ignore"})


# --- Shared steps -----------------------------------------------------------------------------------------------------


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Run a command whose output is this process's own; raise ToolchainError when it fails."""
    try:
        done = subprocess.run(command, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL, check=False)
    except FileNotFoundError:
        raise ToolchainError(f"{command[0]} is not on PATH: install it and try again.") from None
    if done.returncode != 0:
        raise ToolchainError(
            f"`{' '.join(command)}` ended with status {done.returncode}; its reason is in the lines above."
        )


def _go_module(module: str) -> Path:
    """Return the folder of a module in Go's cache, fetching and verifying it first."""
    command = ["go", "mod", "download", "-json", module]
    # Outside any module of ours, so that go.mod files here neither matter nor change.
    settings = {**os.environ, "GOWORK": "off", "GOFLAGS": "-mod=mod"}
    try:
        done = subprocess.run(command, cwd="/", env=settings, stdout=subprocess.PIPE, text=True, check=False)
    except FileNotFoundError:
        raise ToolchainError("go is not on PATH: install it (https://go.dev/doc/install) and try again.") from None
    answer = json.loads(done.stdout) if done.stdout else {}
    if done.returncode != 0 or "Dir" not in answer:
        raise ToolchainError(f"Go module {module} could not be fetched: {answer.get('Error', 'see the lines above')}")
    return Path(answer["Dir"])


def _go_build(
    module: str,
    package: str,
    target: Path,
    *,
    stamps: Mapping[str, str],
    environment: Mapping[str, str],
    tags: str = "",
) -> None:
    """Build a command of a published module, with exactly the dependencies its own go.sum names."""
    values = " ".join(f"-X {name}={value}" for name, value in stamps.items())
    _run(
        [
            "go",
            "build",
            *("-C", str(_go_module(module))),
            *("-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {values}", "-tags", tags),
            *("-o", str(target), package),
        ],
        environment={"GOOS": "linux", "GOWORK": "off", **environment},
    )


def _only_on_linux(name: str) -> None:
    if sys.platform != "linux":
        raise ToolchainError(
            f"{name} can be built from the registries on Linux only: {_release_remedy(name)}, or make the part on Linux"
            " of the same architecture and copy its cache of parts (TOOLCHAIN_CACHE) here."
        )


def _release_remedy(name: str) -> str:
    # Garage's publisher offers no checksums.
    how = "pin the sum of" if name == "garage" else "let set-up reach"
    return f"{how} its official release (docs/mirrors-and-air-gap.md)"


# --- The catalogue ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Need:
    """Something of the machine a build takes, and the Debian package it comes in."""

    package: str
    command: str | None = None
    file: str | None = None
    """Absolute path; either this or `command`."""
    library: str | None = None
    """File name of a static library that the compiler `command` must know."""

    def __str__(self) -> str:
        return f"{self.library or self.command or self.file} (Debian: {self.package})"

    def met(self) -> bool:
        """Tell whether the machine has it."""
        if self.library:
            # A compiler that does not know the library answers with the bare name.
            return Path(system.output([str(self.command), f"-print-file-name={self.library}"])).is_absolute()
        return shutil.which(self.command) is not None if self.command else Path(str(self.file)).exists()


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One build."""

    build: Callable[[Path], None]
    products: tuple[str, ...]
    """What it leaves in its folder, the main one first."""
    pins: tuple[str, ...] = ()
    """Names below `[recipes]` in versions.toml it reads."""
    files: tuple[str, ...] = ()
    """Files below `images/` it reads."""
    helpers: tuple[object, ...] = ()
    """Functions and values of this module that decide its result besides `build` itself."""
    needs: tuple[Need, ...] = ()
    """What must be on the machine."""
    wants: tuple[Need, ...] = ()
    """What shortens the build and is installed where that is possible."""
    compiler: str | None = None
    """`go`, `rust` or None."""
    only_on_linux: bool = False
    """Whether it needs the linker of Linux."""


_CC = (
    Need(package="build-essential", command="cc"),
    # The programs are linked statically. Debian's compilers bring the libraries, others have them in further packages.
    Need(package="build-essential", command="cc", library="libc.a"),
)

RECIPES = {
    "caddy": Recipe(build=build_caddy, products=("caddy",), helpers=(_go_build,), compiler="go"),
    "garage": Recipe(
        build=build_garage,
        products=("garage",),
        helpers=(GARAGE_FEATURES, GARAGE_PROFILE),
        needs=(*_CC, Need(package="build-essential", command="make"), Need(package="build-essential", command="strip")),
        wants=(Need(package="libsodium-dev", file=f"/usr/lib/{platform.machine()}-linux-gnu/libsodium.a"),),
        compiler="rust",
        only_on_linux=True,
    ),
    "ollama": Recipe(
        build=build_ollama,
        products=("ollama",),
        pins=("malgo",),
        helpers=(_go_build,),
        needs=(
            *_CC,
            Need(package="build-essential", command="c++"),
            Need(package="build-essential", command="c++", library="libstdc++.a"),
            Need(package="nlohmann-json3-dev", file="/usr/include/nlohmann/json.hpp"),
            Need(package="libstb-dev", file="/usr/include/stb/stb_image.h"),
        ),
        compiler="go",
        only_on_linux=True,
    ),
    "rootfs": Recipe(
        build=build_rootfs,
        products=("base.tar", "postgres.tar", "redis.tar"),
        pins=("debian_image",),
        files=("rootfs.sh",),
    ),
    "model": Recipe(
        build=build_model,
        products=("model.gguf",),
        pins=("gguf", "numpy"),
        files=("model.py",),
    ),
    "probe": Recipe(
        build=build_probe,
        products=("site-packages",),
        files=("probe/requirements.txt",),
        helpers=(wheel_platforms, _pip_install),
    ),
}
"""Part → how it is built."""


def inputs(part: str) -> str:
    """Return a hash (64 hex digits) of all that decides what a recipe makes: its code, pins, files and platform.

    The part's own version is not in it; the installer adds that, as for every part.
    """
    recipe = RECIPES[part]
    pins = Pins.read().data["recipes"]
    digest = hashlib.sha256(f"{part}\0{system.linux_machine()}\0".encode())
    for item in (recipe.build, *recipe.helpers):
        text = inspect.getsource(item) if inspect.isfunction(item) else repr(item)
        digest.update(text.encode() + b"\0")
    for name in recipe.pins:
        digest.update(f"{name}={pins[name]}\0".encode())
    for name in recipe.files:
        digest.update((IMAGES / name).read_bytes() + b"\0")
    return digest.hexdigest()


def prepare(part: str, progress: Progress) -> None:
    """Install the Debian packages the recipe of `part` takes, or say in one line what is missing or in the way."""
    recipe = RECIPES[part]
    if recipe.only_on_linux:
        _only_on_linux(part)
    needs = list(recipe.needs)
    if part == "rootfs":
        if not system.is_root_on_debian():
            if shutil.which("docker") is None:
                raise ToolchainError(
                    "Debian's root file systems can be made as root on Debian or Ubuntu, or in a Debian container;"
                    " this is neither, and there is no docker command for a container. Install Docker's command line."
                )
            return
        needs += [
            Need(package="mmdebstrap", command="mmdebstrap"),
            Need(package="debian-archive-keyring", file="/usr/share/keyrings/debian-archive-keyring.gpg"),
        ]
    missing = [need for need in needs if not need.met()]
    if missing and not system.is_root_on_debian():
        raise ToolchainError(
            f"{part} cannot be built from the registries without {', '.join(map(str, missing))}. Install what is"
            f" missing (docs/development.md names more packages), or {_release_remedy(part)}."
        )
    if system.is_root_on_debian():
        missing += [need for need in recipe.wants if not need.met()]
    if missing:
        packages = dict.fromkeys(need.package for need in missing)
        system.apt_install(list(packages), f"to build {part}", progress)


def main(arguments: Sequence[str]) -> int:
    """Build one part into a folder and return the exit status."""
    if len(arguments) != 2 or arguments[0] not in RECIPES:
        print(f"usage: python3 -m toolchain.recipes {{{','.join(RECIPES)}}} OUT", file=sys.stderr)
        return 2
    out = Path(arguments[1]).absolute()
    out.mkdir(parents=True, exist_ok=True)
    try:
        RECIPES[arguments[0]].build(out)
    except ToolchainError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
