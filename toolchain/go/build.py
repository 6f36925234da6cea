#!/usr/bin/env python3
"""Build the Pulumi engine, its Python language host and the resource plugins from the Go module proxy alone.

    python3 toolchain/go/build.py PART OUTDIR      PART is engine, language or plugins
    python3 toolchain/go/build.py --inputs PART    the files of this repository that PART is made from, one a line
    python3 toolchain/go/build.py --check          go vet and all Go tests, with the flags of the build

Into OUTDIR come, finished and executable:
    engine     pulumi
    language   pulumi-language-python, pulumi-language-python-exec, pulumi-resource-pulumi-python
    plugins    pulumi-resource: one binary that serves the plugin named by the file name it is started by,
               pulumi-resource-docker, -tls, -random or -command

What is built is decided by go.mod and go.sum (engine, providers) and toolchain/versions.toml (the version each plugin
answers to, which is its SDK's). Needs Go as new as go.mod says and the standard library of Python 3.11.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

PARTS = ("engine", "language", "plugins")
PLUGINS = ("command", "docker", "random", "tls")

# Folders of Go sources per part, below this one; nested modules come in through their replace lines in go.mod.
SOURCES: dict[str, tuple[str, ...]] = {
    "engine": (),
    "language": ("language",),
    "plugins": ("bridged", "command", "plugin", "upstream"),
}
ENGINE_PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
SDK_MODULE = "github.com/pulumi/pulumi/sdk/v3"
# The SDK module's own scripts, by folder: they start Python programs and dynamic providers.
SDK_SCRIPTS = {"python/cmd": ("pulumi-language-python-exec",), "python/dist": ("pulumi-resource-pulumi-python",)}

# One set of flags for every part: what two parts share is then compiled once. `no_compose` leaves out the Terraform
# resource for Docker Compose, which no Pulumi SDK has and which brings half of Compose along. The linker drops debug
# information (-s -w), so the compiler need not make any.
FLAGS = ("-mod=readonly", "-trimpath", "-tags=no_compose", "-buildvcs=false", "-gcflags=all=-dwarf=false")

# buildx, a part of the docker provider, can drive builders in a Kubernetes cluster. Kubernetes' client is a sixth of
# all code compiled here and slows every start of a plugin, so that one driver is left out: buildx then knows no driver
# "kubernetes". The copy of the module without it lies in the checkout's own work folder.
BUILDX = "github.com/docker/buildx"
KUBERNETES_DRIVER = Path("driver", "kubernetes")
WORK = ROOT / ".toolchain" / "build"


class BuildError(Exception):
    """A build that cannot go on; the text says what to do."""


def say(text: str) -> None:
    """Print a line of progress at once."""
    print(text, flush=True)


def environment() -> dict[str, str]:
    """Return the environment of the Go command: the user's own, without what would change the result."""
    variables = {name: value for name, value in os.environ.items() if name not in ("GOFLAGS", "GOWORK", "GOEXPERIMENT")}
    return {
        # Compilers live for seconds: collecting their garbage less often saves a seventh of the time, within a limit.
        "GOGC": "400",
        "GOMEMLIMIT": "2GiB",
        **variables,
        "GOWORK": "off",
        # The compiled files must start on any Linux of the same architecture, hence no C library.
        "CGO_ENABLED": "0",
    }


def go(*arguments: str, folder: Path = HERE, capture: bool = False) -> str:
    """Run the Go command; its own messages pass through, its output is returned when captured."""
    program = shutil.which("go")
    if program is None:
        raise BuildError("go is not on PATH. Install Go (https://go.dev/doc/install) and put its bin folder on PATH.")
    done = subprocess.run(
        [program, *arguments],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE if capture else None,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BuildError(
            f"`go {' '.join(arguments)}` failed with status {done.returncode}; its own message is above. If a module"
            " could not be fetched, check the module proxy (`go env GOPROXY`) and run this again: what is done is kept."
        )
    return done.stdout or ""


def without_kubernetes() -> tuple[str, ...]:
    """Return the flags of the Go command that leave Kubernetes out of the docker provider; make the copy they need."""
    WORK.mkdir(parents=True, exist_ok=True)
    told: dict[str, str] = json.loads(go("mod", "download", "-json", BUILDX, capture=True))
    copy = WORK / f"buildx-{told['Version']}"
    if not copy.exists():
        draft = Path(tempfile.mkdtemp(prefix=f"{copy.name}.", dir=WORK))
        shutil.copytree(told["Dir"], draft, dirs_exist_ok=True, copy_function=shutil.copyfile)
        draft.chmod(0o755)
        for folder in draft.rglob("*/"):
            folder.chmod(0o755)  # Modules are read-only, folders too.
        driver = draft / KUBERNETES_DRIVER
        for file in driver.glob("*.go"):
            file.unlink()
        (driver / "kubernetes.go").write_text("package kubernetes\n", encoding="utf-8")
        try:
            draft.rename(copy)
        except OSError:  # Another build was quicker.
            shutil.rmtree(draft)
    # Relative to the main module's root, so that no path of this machine gets into what is built.
    replacement = os.path.relpath(copy, HERE)
    module_file = WORK / "plugins.mod"
    text = (HERE / "go.mod").read_text(encoding="utf-8")
    write(module_file, f"{text}\nreplace {BUILDX} => {replacement}\n")
    write(module_file.with_suffix(".sum"), (HERE / "go.sum").read_text(encoding="utf-8"))
    return (f"-modfile={module_file}",)


def write(path: Path, text: str) -> None:
    """Put a whole text in place at once; leave a file that already holds it alone."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def pulumi_version() -> str:
    """Return the version of Pulumi that go.mod requires, without the leading v."""
    go_mod = (HERE / "go.mod").read_text(encoding="utf-8")
    required = re.search(rf"^\s*{re.escape(SDK_MODULE)} v(\S+)", go_mod, re.MULTILINE)
    if required is None:
        raise BuildError(f"{HERE / 'go.mod'} does not require {SDK_MODULE}.")
    return required[1]


def plugin_versions() -> dict[str, str]:
    """Return the version of every plugin built here, from toolchain/versions.toml."""
    pins = ROOT / "toolchain" / "versions.toml"
    with pins.open("rb") as source:
        tables = tomllib.load(source)["plugins"]
    missing = [name for name in PLUGINS if "version" not in tables.get(name, {})]
    if missing:
        raise BuildError(f"{pins} has no version for the plugins {', '.join(missing)} ([plugins.NAME] version = …).")
    return {name: tables[name]["version"] for name in PLUGINS}


def compile_into(target: Path, package: str, settings: Iterable[str], flags: Iterable[str] = ()) -> None:
    """Compile one command, with string variables set by the linker (`package.name=value`)."""
    linker = " ".join(["-s", "-w", *(f"-X {setting}" for setting in settings)])
    go("build", *FLAGS, *flags, f"-ldflags={linker}", "-o", str(target), package)


def build_engine(out: Path) -> list[str]:
    """Write `pulumi`."""
    compile_into(out / "pulumi", ENGINE_PACKAGE, [version_setting()])
    return ["pulumi"]


def build_language(out: Path) -> list[str]:
    """Write the language host and the SDK's two scripts that belong beside it."""
    compile_into(out / "pulumi-language-python", "./language", [version_setting()])
    sdk = Path(go("list", *FLAGS, "-m", "-f", "{{.Dir}}", SDK_MODULE, capture=True).strip())
    names = ["pulumi-language-python"]
    for folder, scripts in SDK_SCRIPTS.items():
        for name in scripts:
            shutil.copyfile(sdk / folder / name, out / name)
            (out / name).chmod(0o755)
            names.append(name)
    return names


def build_plugins(out: Path) -> list[str]:
    """Write the binary that serves all plugins."""
    settings = [f"main.{name}Version={version}" for name, version in plugin_versions().items()]
    compile_into(out / "pulumi-resource", "./plugin", settings, without_kubernetes())
    return ["pulumi-resource"]


def version_setting() -> str:
    """Return the linker setting that stamps Pulumi's own version."""
    return f"{SDK_MODULE}/go/common/version.Version=v{pulumi_version()}"


def build(part: str, out: Path) -> None:
    """Build one part into a folder; a file appears there only when it is whole."""
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    draft = out / f".{part}.{os.getpid()}"
    draft.mkdir()
    try:
        say(f"{part}: compiling with {go('version', capture=True).strip()} (modules are fetched as needed)")
        names = {"engine": build_engine, "language": build_language, "plugins": build_plugins}[part](draft)
        for name in names:
            (draft / name).replace(out / name)
            say(f"{part}: {name} {(out / name).stat().st_size / 1e6:.1f} MB")
    finally:
        shutil.rmtree(draft)
    say(f"{part}: done in {time.monotonic() - started:.0f} s")


def inputs(part: str) -> list[str]:
    """Return the files a part is made from, relative to the repository's root, sorted.

    Tests are left out: they cannot change what is built. The engine's and the language host's version is go.mod's.
    """
    files = {Path(__file__).resolve(), HERE / "go.mod", HERE / "go.sum", *HERE.glob("*/go.mod")}
    files.update(HERE.glob("upstream/*/go.mod"))
    for folder in SOURCES[part]:
        files.update(path for path in (HERE / folder).rglob("*.go") if not path.name.endswith("_test.go"))
    if part == "plugins":
        files.add(ROOT / "toolchain" / "versions.toml")
    return sorted(str(path.relative_to(ROOT)) for path in files)


def check() -> None:
    """Vet all Go code and run its tests, in the one module set that is built."""
    local = re.findall(r"^\s*(\S+) => \./", (HERE / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    packages = ["./...", *(f"{module}/..." for module in local)]
    flags = (*FLAGS, *without_kubernetes())
    go("vet", *flags, *packages)
    go("test", *flags, *packages)


def main() -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=PARTS, help="what to build")
    parser.add_argument("outdir", nargs="?", type=Path, help="where the finished files go")
    parser.add_argument("--inputs", choices=PARTS, metavar="PART", help="print the files a part is made from")
    parser.add_argument("--check", action="store_true", help="run go vet and the Go tests")
    given = parser.parse_args()
    try:
        if given.inputs:
            print("\n".join(inputs(given.inputs)))
        elif given.check:
            check()
        elif given.part and given.outdir:
            build(given.part, given.outdir.resolve())
        else:
            parser.error("give PART and OUTDIR, --inputs PART, or --check")
    except BuildError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
