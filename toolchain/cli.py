"""The commands of `python3 -m toolchain`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

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
    setup.add_argument("--stack", help="also what this stack needs: staged images, the aws plugin, a Docker daemon")

    commands.add_parser("images", help="stage the build contexts of the development images")

    commands.add_parser("doctor", help="show every part: version, where it came from, its hash")

    pin = commands.add_parser("pin", help="move a pin in versions.toml and all that is derived from it")
    pin.add_argument("part", nargs="?", help="what to move; without it only derived files are rewritten")
    pin.add_argument("version", nargs="?", help="exact version, or image tag[@digest]")
    pin.add_argument("--check", action="store_true", help="only tell whether derived files agree")

    commands.add_parser("check-go", help="format, vet and tests of the Go modules")
    commands.add_parser("check-shell", help="shellcheck on every shell script")

    clean = commands.add_parser("clean", help="remove what set-up made; never state, passphrase or data")
    clean.add_argument("--cache", action="store_true", help="the cache of parts as well")

    commands.add_parser("env", help="print the environment Pulumi runs in, as shell commands")

    run = commands.add_parser("run", help="run a command in that environment")
    run.add_argument("--whole", action="store_true", help="pass on all of the caller's own, for tests")
    run.add_argument("program", nargs=argparse.REMAINDER, metavar="-- COMMAND …")

    options = parser.parse_args(arguments)
    layout = Layout()
    command: str = options.command
    if command == "setup":
        return _setup(layout, options.dev, options.stack)
    if command == "images":
        return _images(layout)
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
        return _env(layout)
    return _run(layout, options.program, whole=options.whole)


def _setup(layout: Layout, dev: bool, stack: str | None) -> int:
    from toolchain import needs, stamps

    needed = needs.of(layout, stack) if stack else None
    images = needed is not None and needed.images
    aws = needed is not None and needed.aws
    fingerprint = stamps.setup_fingerprint(layout)
    due = (
        not stamps.current(layout, "setup", fingerprint)
        or (dev and not stamps.current(layout, "dev", stamps.dev_fingerprint(layout)))
        or (images and not stamps.current(layout, "images", stamps.image_fingerprint(layout)))
        or (aws and not stamps.current(layout, "aws", fingerprint))
    )
    if needed is not None:
        # Before anything is obtained: without Docker, what is compiled for minutes cannot be deployed.
        _docker(layout, needed.docker_host, needed.minimum_free_disk_gib, closely=due)
    if due:
        from toolchain import setup as steps
        from toolchain.progress import Progress

        steps.setup(layout, Progress(), dev=dev, with_aws=aws, with_images=images)
    return 0


def _images(layout: Layout) -> int:
    from toolchain import stamps

    if not stamps.current(layout, "images", stamps.image_fingerprint(layout)):
        from toolchain import setup as steps
        from toolchain.progress import Progress

        steps.setup(layout, Progress(), base=False, with_images=True)
    return 0


def _docker(layout: Layout, host: str, free_gib: float, *, closely: bool) -> None:
    """See to the daemon at the URL `host`, if it is a local one, and to the docker command.

    Where nothing is to be obtained, a daemon that answers will do: what it is like, the checks before a deployment ask
    anyway, and asking here as well would take longer than all the rest.
    """
    import shutil

    path = Path(host.removeprefix("unix://")) if host.startswith("unix://") else None
    if not closely and shutil.which("docker") is not None and (path is None or _answers(path)):
        return
    from toolchain import daemon
    from toolchain.pins import Pins
    from toolchain.progress import Progress

    if path is not None:
        daemon.ensure(layout, Pins.read(layout.root), Progress(), path, free_gib)
    daemon.ensure_command(Progress())


def _answers(path: Path) -> bool:
    import socket

    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.connect(str(path))
    except OSError:
        return False
    return True


def _pin(layout: Layout, options: argparse.Namespace) -> int:
    from toolchain import pins

    if options.check:
        lines = pins.disagreements(layout.root)
        print("\n".join(lines) if lines else "every derived file agrees with toolchain/versions.toml")
        return 1 if lines else 0
    difference = pins.pin(options.part, options.version, root=layout.root)
    print(difference or "nothing changed", end="" if difference else "\n")
    return 0


def _clean(layout: Layout, cache: bool) -> int:
    import shutil

    from toolchain.layout import CACHE_FOLDERS, cache_root

    kept = {layout.state, layout.passphrase, layout.renewal}
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


def _env(layout: Layout) -> int:
    from toolchain import environment

    print(environment.script(layout, environment.values(layout, os.environ)), end="")
    return 0


def _run(layout: Layout, program: list[str], *, whole: bool) -> int:
    import signal

    from toolchain import environment

    if program[:1] == ["--"]:
        program = program[1:]
    if not program:
        raise ToolchainError("Give the command to run: python3 -m toolchain run -- <command> [arguments].")
    # A shell that is not interactive starts background jobs with SIGINT ignored. The engine stops its plugins by SIGINT
    # and would wait 5 s for each that inherited this.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    settings = environment.pulumi_environment(layout, os.environ, whole=whole)
    sys.stdout.flush()
    os.environ["PATH"] = settings["PATH"]
    try:
        os.execvpe(program[0], program, settings)
    except FileNotFoundError:
        raise ToolchainError(f"{program[0]} is not there; run `make setup` first.") from None
