"""The commands of `python3 -m toolchain`."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from toolchain import stamps
from toolchain.layout import Layout, ToolchainError


def main(arguments: Sequence[str]) -> int:
    """Run the command `arguments` name and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python3 -m toolchain",
        description="Obtain the Pulumi engine, its plugins, the Python environments and the development images.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    setup = commands.add_parser("setup", help="obtain and install everything that is needed to run the program")
    setup.add_argument("--dev", action="store_true", help="the environment for tests and checks as well")
    setup.add_argument("--with-aws", action="store_true", help="the aws plugin as well (official release only)")
    setup.add_argument("--stack", help="also what this stack needs: staged images, the aws plugin, a Docker daemon")

    commands.add_parser("images", help="stage the build contexts of the development images")

    docker = commands.add_parser("docker", help="check the local Docker; install and start it on Debian as root")
    docker.add_argument("--free-gib", type=float, default=5.0, help="free disk to ask for, in GiB (default 5)")

    commands.add_parser("doctor", help="show every part: version, where it came from, its hash")

    pin = commands.add_parser("pin", help="move a pin in versions.toml and all that is derived from it")
    pin.add_argument("part", nargs="?", help="what to move; without it only derived files are rewritten")
    pin.add_argument("version", nargs="?", help="exact version, or image tag[@digest]")
    pin.add_argument("--check", action="store_true", help="only tell whether derived files agree")
    pin.add_argument("--no-resolve", action="store_true", help="leave transitive Python packages as they are")

    commands.add_parser("check-go", help="format, vet and tests of the Go modules")
    commands.add_parser("check-shell", help="shellcheck on every shell script")

    clean = commands.add_parser("clean", help="remove what set-up made; never state, passphrase or data")
    clean.add_argument("--cache", action="store_true", help="the cache of parts as well")

    env = commands.add_parser("env", help="print the environment Pulumi runs in, as shell commands")
    env.add_argument("--json", action="store_true", help="as JSON: null means unset")

    run = commands.add_parser("run", help="run a command in that environment")
    run.add_argument("program", nargs=argparse.REMAINDER, metavar="-- COMMAND …")

    options = parser.parse_args(arguments)
    layout = Layout()
    command: str = options.command
    if command == "setup":
        return _setup(layout, options.dev, options.with_aws, options.stack)
    if command == "images":
        return _images(layout)
    if command == "docker":
        return _docker(layout, options.free_gib)
    if command == "doctor":
        from toolchain import doctor

        return doctor.main(layout)
    if command == "pin":
        return _pin(layout, options)
    if command in ("check-go", "check-shell"):
        from toolchain import checks
        from toolchain.progress import Progress

        return (checks.go if command == "check-go" else checks.shell)(layout, Progress())
    if command == "clean":
        return _clean(layout, options.cache)
    if command == "env":
        return _env(layout, options.json)
    return _run(layout, options.program)


def stack_settings(layout: Layout, stack: str) -> dict[str, str]:
    """Return the scalar settings of `Pulumi.<stack>.yaml` in this project's namespace, by name.

    Read by line and not by a YAML parser, which a fresh machine does not have; nested values are left out.
    """
    path = layout.root / f"Pulumi.{stack}.yaml"
    if not path.exists():
        return {}
    found = re.findall(
        r"^\s+reflector:(\w+):[ \t]+(\S.*?)[ \t]*(?:#.*)?$", path.read_text(encoding="utf-8"), re.MULTILINE
    )
    return {name: value.strip("\"'") for name, value in found}


def _setup(layout: Layout, dev: bool, with_aws: bool, stack: str | None) -> int:
    settings = stack_settings(layout, stack) if stack else {}
    if stack:
        from toolchain import daemon

        # First of all: without Docker, whatever is obtained and compiled for minutes cannot be deployed.
        try:
            free_gib = float(settings.get("minimum_free_disk_gib", daemon.FREE_DISK_GIB))
        except ValueError:  # reported with all that is wrong with the settings, once they can be read
            free_gib = daemon.FREE_DISK_GIB
        _docker(layout, free_gib, settings.get("docker_host"), quiet=True)
    images = settings.get("images") == "built"
    with_aws = with_aws or settings.get("storage") == "s3"
    fingerprint = stamps.setup_fingerprint(layout)
    due = (
        not stamps.current(layout, "setup", fingerprint)
        or (dev and not stamps.current(layout, "dev", stamps.dev_fingerprint(layout)))
        or (images and not stamps.current(layout, "images", stamps.image_fingerprint(layout)))
        or (with_aws and not stamps.current(layout, "aws", fingerprint))
    )
    if due:
        from toolchain import setup as steps
        from toolchain.progress import Progress

        steps.setup(layout, Progress(), dev=dev, with_aws=with_aws, with_images=images)
    return 0


def _images(layout: Layout) -> int:
    if not stamps.current(layout, "images", stamps.image_fingerprint(layout)):
        from toolchain import setup as steps
        from toolchain.progress import Progress

        steps.setup(layout, Progress(), base=False, with_images=True)
    return 0


def _docker(layout: Layout, free_gib: float, host: str | None = None, *, quiet: bool = False) -> int:
    from toolchain import daemon
    from toolchain.pins import Pins
    from toolchain.progress import Progress

    host = host or f"unix://{daemon.SOCKET}"
    if host.startswith("unix://"):
        path = Path(host.removeprefix("unix://"))
        found = daemon.ensure(layout, Pins.read(layout.root), Progress(), path, free_gib)
        if not quiet:
            print("\n".join(daemon.describe(found)))
    daemon.ensure_command(Progress())
    return 0


def _pin(layout: Layout, options: argparse.Namespace) -> int:
    from toolchain import pins

    if options.check:
        lines = pins.disagreements(layout.root)
        print("\n".join(lines) if lines else "every derived file agrees with toolchain/versions.toml")
        return 1 if lines else 0
    difference = pins.pin(options.part, options.version, root=layout.root, resolve=not options.no_resolve)
    print(difference or "nothing changed", end="" if difference else "\n")
    return 0


def _clean(layout: Layout, cache: bool) -> int:
    import shutil

    from toolchain.layout import CACHE_FOLDERS, cache_root

    kept = {layout.state, layout.passphrase}
    for entry in sorted(layout.home.iterdir()) if layout.home.exists() else []:
        if entry in kept:
            continue
        if entry == layout.pulumi_home:
            # A login and its credentials are the user's own; only the plugins are ours.
            shutil.rmtree(layout.plugins, ignore_errors=True)
        elif entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    if cache:
        from toolchain.parts import remove

        for name in CACHE_FOLDERS:
            if (cache_root() / name).exists():
                remove(cache_root() / name)
        if cache_root().exists() and not any(cache_root().iterdir()):
            cache_root().rmdir()
    print(f"kept: {layout.state.relative_to(layout.root)} (state), {layout.passphrase.relative_to(layout.root)}")
    return 0


def _env(layout: Layout, as_json: bool) -> int:
    import json

    from toolchain import environment

    settings = environment.values(layout, os.environ)
    print(
        json.dumps(settings, indent=1) if as_json else environment.script(layout, settings), end="\n" if as_json else ""
    )
    return 0


def _run(layout: Layout, program: list[str]) -> int:
    import signal

    from toolchain import environment

    if program[:1] == ["--"]:
        program = program[1:]
    if not program:
        raise ToolchainError("Give the command to run: python3 -m toolchain run -- <command> [arguments].")
    # A shell that is not interactive starts background jobs with SIGINT ignored. The engine stops its plugins by SIGINT
    # and would wait 5 s for each that inherited this.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    settings = environment.applied(layout, os.environ)
    sys.stdout.flush()
    os.environ["PATH"] = settings["PATH"]
    try:
        os.execvpe(program[0], program, settings)
    except FileNotFoundError:
        raise ToolchainError(f"{program[0]} is not there; run `make setup` first.") from None
