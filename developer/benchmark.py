"""`python -m developer.benchmark`: what our own part costs, as ratios measured in one run.

Warm: `pulumi up` on a deployed stack with nothing to change, against the same engine and Python environment running an
empty program, and one that only starts the same plugins. The three take turns, and ratios are taken round by round, so
it does not matter if the machine speeds up or slows down meanwhile. Cold (`--cold`, in its place): `make up` in a fresh
clone with an empty home, cache and toolchain folder, step by step as it reports itself; it deploys a stack of its own,
and removes it with its data. The results are written into docs/performance.md.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import yaml

from components.base.daemon import Daemon
from operations.stack import Stack
from settings import PROJECT, Settings
from testing.docker import erase, free_port
from toolchain import Layout, Obtained, recorded

PAGE: Final = Path("docs") / "performance.md"
BASELINES: Final[Mapping[str, str]] = {
    # What ours is measured against: project → program.
    "empty": "",
    "plugins": """\
import pulumi_command as command
import pulumi_docker as docker
import pulumi_random as random
import pulumi_tls as tls

command.Provider("command")
docker.Provider("docker")
random.Provider("random")
tls.Provider("tls")
""",
}
PROJECT_FILE: Final = """\
name: {name}
runtime:
  name: python
  options:
    toolchain: pip
    virtualenv: {venv}
"""


def main() -> int:
    """Measure what was asked for and write it down."""
    parser = argparse.ArgumentParser(prog="python -m developer.benchmark", description=__doc__)
    parser.add_argument("--stack", default="dev", help="a deployed stack, for the warm measurement (default: dev)")
    parser.add_argument("--rounds", type=int, help="rounds after a warm-up (default: 7, beside compose 3)")
    parser.add_argument("--cold", action="store_true", help="measure a cold `make up` instead: builds all, minutes")
    parser.add_argument(
        "--compose", action="store_true", help="compare with docker compose instead, where it is installed: minutes"
    )
    parser.add_argument(
        "--certificates", action="store_true", help="measure 10, 100 and 1000 certificates instead: minutes"
    )
    arguments, more = parser.parse_known_args()
    if arguments.compose:
        from developer import comparison  # which takes what this module has

        rounds = [f"--rounds={arguments.rounds}"] if arguments.rounds else []
        return comparison.main([f"--stack={arguments.stack}", *rounds, *more])
    if more:
        parser.error(f"unknown arguments: {' '.join(more)}")
    layout = Layout()
    if arguments.cold:
        name, table = "cold", cold(layout)
    elif arguments.certificates:
        from developer import certificates  # which takes what this module has

        name, table = "certificates", certificates.measured(Stack(name=arguments.stack, layout=layout))
    else:
        name, table = "warm", warm(Stack(name=arguments.stack, layout=layout), arguments.rounds or 7)
    page = layout.root / PAGE
    page.write_text(replaced(page.read_text(encoding="utf-8"), name, "\n".join(table)), encoding="utf-8")
    print(f"Written into {PAGE}.")
    return 0


def warm(stack: Stack, rounds: int) -> list[str]:
    """Return the table of the warm measurement.

    Raises: SystemExit if the stack is not deployed and up to date, which is what is to be measured.
    """
    up = ("up", "--yes", "--skip-preview", "--non-interactive", "--suppress-outputs", "--stack")
    runs = [partial(engine, stack, stack.environment, stack.layout.root, *up, stack.name)]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**stack.environment, "PULUMI_BACKEND_URL": f"file://{folder}"}
        for name, program in BASELINES.items():
            project = Path(folder) / name
            project.mkdir()
            (project / "Pulumi.yaml").write_text(
                PROJECT_FILE.format(name=name, venv=stack.layout.venv), encoding="utf-8"
            )
            (project / "__main__.py").write_text(program, encoding="utf-8")
            engine(stack, environment, project, "stack", "init", name)
            runs.append(partial(engine, stack, environment, project, *up, name))
        ours, *_ = [run() for run in runs]
        resources = re.search(r"^\s+(\d+) unchanged\s*$", ours, re.MULTILINE)
        if resources is None:
            sys.exit(f"stack {stack.name} is not up to date; run `make up STACK={stack.name}` first")
        return warm_table(resources[1], [[seconds(run) for run in runs] for _ in range(rounds)])


def warm_table(resources: str, rounds: Sequence[Sequence[float]]) -> list[str]:
    """Return the table of a warm run.

    Shape: each round holds the seconds it took for our program, for the empty one, and for the one with plugins.
    """
    ours, empty, plugins = zip(*rounds, strict=True)
    rows = [
        ("`pulumi up`, nothing to change", ours, " s"),
        ("`pulumi up`, empty program", empty, " s"),
        ("`pulumi up`, empty program that starts the same plugins", plugins, " s"),
        ("ratio to the empty program", [a / b for a, b in zip(ours, empty, strict=True)], ""),
        ("ratio to the one that starts the same plugins", [a / b for a, b in zip(ours, plugins, strict=True)], ""),
    ]
    return [
        f"Stack with {resources} resources, {len(rounds)} rounds after a warm-up, {machine()}; ratios round by round.",
        "",
        "| what | median | min | max |",
        "| --- | --- | --- | --- |",
        *(
            f"| {what} | {statistics.median(values):.2f}{unit} | {min(values):.2f} | {max(values):.2f} |"
            for what, values, unit in rows
        ),
    ]


def cold(layout: Layout) -> list[str]:
    """Return the table of a `make up` that starts with nothing."""
    # No name of anybody's stack, nor of what another run may have left.
    stack = f"benchmark-{os.getpid()}"
    log: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        clone = Layout(Path(folder) / "clone")
        home.mkdir()
        subprocess.run(["git", "clone", "--quiet", str(layout.root), str(clone.root)], check=True)
        committed = (clone.root / "Pulumi.dev.yaml").read_text(encoding="utf-8")
        (clone.root / f"Pulumi.{stack}.yaml").write_text(
            cold_stack(committed, https_port=free_port(), http_port=free_port()), encoding="utf-8"
        )
        started = time.monotonic()
        run = subprocess.Popen(
            ["make", "up", f"STACK={stack}"],
            cwd=clone.root,
            env=cold_environment(os.environ, layout, home),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert run.stdout is not None
            for line in run.stdout:
                print(line, end="", flush=True)
                log.append(line.rstrip())
            run.wait()
            seconds = time.monotonic() - started
        finally:
            # Interrupted from the keyboard it is on its way out as well; what it still makes would be found by nobody.
            run.wait()
            erase(Daemon(address=Settings().host.address), f"{PROJECT}-{stack}")
            # The module cache is read-only by design.
            subprocess.run(["chmod", "-R", "u+w", str(home)], check=False)
        if run.returncode != 0:
            sys.exit("the cold run failed, so there is nothing to write down")
        return cold_table(log, seconds, recorded(clone).values())


def cold_environment(environ: Mapping[str, str], layout: Layout, home: Path) -> dict[str, str]:
    """Return the environment of a run that has an empty home and finds nothing of this checkout.

    Nor of the `make` around it, which hands its own arguments on: the inner one would take `ARGS=--cold` for its own.
    """
    around = ("ARGS", "STACK", "MFLAGS", "MAKEFLAGS", "MAKELEVEL")
    path = [entry for entry in environ["PATH"].split(os.pathsep) if entry != str(layout.bin)]
    return {
        **{
            name: value
            for name, value in environ.items()
            if name not in around and not name.startswith(("PULUMI_", "TOOLCHAIN_", "XDG_"))
        },
        "PATH": os.pathsep.join(path),
        "HOME": str(home),
        "GOCACHE": str(home / "go-build"),
        "GOMODCACHE": str(home / "go-mod"),
        "GOFLAGS": "",
    }


def cold_stack(committed: str, *, https_port: int, http_port: int) -> str:
    """Return the stack file `committed` with other ports."""
    content = yaml.safe_load(committed)
    content["config"][f"{PROJECT}:edge"] |= {"https_port": https_port, "http_port": http_port}
    return yaml.safe_dump(content, sort_keys=False)


def cold_table(log: Sequence[str], seconds: float, parts: Iterable[Obtained]) -> list[str]:
    """Return the table of a cold run: the steps its log reports as done, with the time each took, and the sum."""
    # As toolchain/progress.py says that a step has ended.
    done = re.compile(r"^(?P<step>.+): done in (?P<time>[\d.]+ (?:s|min \d\d s))$")
    steps = [(match["step"], match["time"]) for line in log if (match := done.match(line))]
    names: dict[str, list[str]] = {}
    for part in parts:
        names.setdefault(part.origin, []).append(part.name)
    origins = [f"{origin.capitalize()}: {', '.join(sorted(names[origin]))}." for origin in sorted(names)]
    return [
        " ".join([f"{machine()}; empty home, caches and toolchain folder; Docker's images as found.", *origins]),
        "",
        "| step | time |",
        "| --- | --- |",
        *(f"| {step} | {time_} |" for step, time_ in steps),
        f"| **all of `make up`** | **{int(seconds // 60)} min {int(seconds % 60):02d} s** |",
    ]


def engine(stack: Stack, environment: Mapping[str, str], folder: Path, *arguments: str) -> str:
    """Return what the engine of `stack` says in a project of `folder`.

    Raises: SystemExit, with that, if it fails.
    """
    done = subprocess.run(
        [str(stack.layout.bin / "pulumi"), *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(done.stdout)
    return done.stdout


def seconds(run: Callable[[], object]) -> float:
    """Return how long it takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def machine() -> str:
    """Return on what was measured."""
    return f"{os.cpu_count()} cores"


def replaced(text: str, name: str, table: str) -> str:
    """Return the page `text` with `table` between the markers of `name`.

    Raises: ValueError if the page has no such markers.
    """
    begin, end = f"<!-- benchmark {name} -->", f"<!-- end {name} -->"
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{PAGE} has no place for the {name} measurement")
    return f"{head}{begin}\n\n{table}\n\n{end}{tail}"


if __name__ == "__main__":
    sys.exit(main())
