"""`python -m operations.benchmark`: what our own part costs, as ratios measured in one run.

Warm: `pulumi up` on a deployed stack with nothing to change, against the same engine, plugins and Python environment
running an empty program. The two take turns, and the ratio is taken round by round, so it does not matter if the
machine speeds up or slows down meanwhile. Cold: `make up` in a fresh clone with an empty home, cache and toolchain
folder, step by step as it reports itself. The results are written into docs/performance.md.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from operations.stack import Stack
from toolchain.layout import Layout

PAGE: Final = Path("docs") / "performance.md"
_EMPTY_PROJECT: Final = """\
name: empty
runtime:
  name: python
  options:
    toolchain: pip
    virtualenv: {venv}
"""


def main() -> int:
    """Measure what was asked for and write it down."""
    parser = argparse.ArgumentParser(prog="python -m operations.benchmark", description=__doc__)
    parser.add_argument("--stack", default="dev", help="a deployed stack (default: dev)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of the warm measurement (default: 7)")
    parser.add_argument("--cold", action="store_true", help="measure a cold `make up` too: builds everything, minutes")
    arguments = parser.parse_args()
    layout = Layout()
    page = layout.root / PAGE
    text = page.read_text(encoding="utf-8")
    stack = Stack(name=arguments.stack, layout=layout)
    text = replaced(text, "warm", warm(stack, arguments.rounds))
    if arguments.cold:
        text = replaced(text, "cold", cold(layout))
    page.write_text(text, encoding="utf-8")
    print(f"Written into {PAGE}.")
    return 0


def warm(stack: Stack, rounds: int) -> str:
    """Return the table of the warm measurement.

    Raises: SystemExit if the stack is not deployed and up to date, which is what is to be measured.
    """
    ours = ("up", "--yes", "--skip-preview", "--non-interactive", "--suppress-outputs")
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder)
        (empty / "Pulumi.yaml").write_text(_EMPTY_PROJECT.format(venv=stack.layout.venv), encoding="utf-8")
        (empty / "__main__.py").write_text("", encoding="utf-8")
        (empty / "state").mkdir()
        environment = {**stack.environment, "PULUMI_BACKEND_URL": f"file://{empty / 'state'}"}
        _engine(stack, environment, empty, "stack", "init", "empty")

        def run_empty() -> str:
            return _engine(stack, environment, empty, *ours, "--stack", "empty")

        def run_ours() -> str:
            return _engine(stack, stack.environment, stack.layout.root, *ours, "--stack", stack.name)

        run_empty()
        resources = re.search(r"^\s+(\d+) unchanged\s*$", run_ours(), re.MULTILINE)
        if resources is None:
            sys.exit(f"stack {stack.name} is not up to date; run `make up STACK={stack.name}` first")
        pairs = [(_seconds(run_ours), _seconds(run_empty)) for _ in range(rounds)]
    ratios = sorted(a / b for a, b in pairs)
    rows = [
        ("`pulumi up`, nothing to change", [a for a, _ in pairs], "s"),
        ("`pulumi up`, empty program, same plugins and environment", [b for _, b in pairs], "s"),
        ("ratio, round by round", ratios, ""),
    ]
    lines = [
        f"Stack with {resources[1]} resources, {rounds} rounds after a warm-up, {_machine()}.",
        "",
        "| what | median | min | max |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {what} | {statistics.median(values):.2f} {unit} | {min(values):.2f} | {max(values):.2f} |".replace(
            "  |", " |"
        )
        for what, values, unit in rows
    ]
    return "\n".join(lines)


def cold(layout: Layout) -> str:
    """Return the steps of a `make up` that starts with nothing, as it reports them, and take its stack down again."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        clone = Path(folder) / "clone"
        home.mkdir()
        subprocess.run(["git", "clone", "--quiet", str(layout.root), str(clone)], check=True)
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("PULUMI_", "TOOLCHAIN_", "XDG_"))
        } | {"HOME": str(home), "GOCACHE": str(home / "go-build"), "GOMODCACHE": str(home / "go-mod"), "GOFLAGS": ""}
        started = time.monotonic()
        log: list[str] = []
        with subprocess.Popen(
            ["make", "up"],
            cwd=clone,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as run:
            assert run.stdout is not None
            for line in run.stdout:
                print(line, end="", flush=True)
                log.append(line.rstrip())
        seconds = time.monotonic() - started
        subprocess.run(["make", "down"], cwd=clone, env=environment, check=False)
        # The module cache is read-only by design.
        subprocess.run(["chmod", "-R", "u+w", str(home)], check=True)
        shutil.rmtree(home)
    if run.returncode != 0:
        sys.exit("the cold run failed, so there is nothing to write down")
    return "\n".join(cold_table(log, seconds))


def cold_table(log: Sequence[str], seconds: float) -> list[str]:
    """Return the table of a cold run: the steps its log reports as done, with the time each took, and the sum."""
    # As toolchain/progress.py says that a step has ended.
    done = re.compile(r"^(?P<step>.+): done in (?P<time>[\d.]+ (?:s|min \d\d s))$")
    steps = [(match["step"], match["time"]) for line in log if (match := done.match(line))]
    return [
        f"{_machine()}; empty home, caches and toolchain folder; everything from the package registries.",
        "",
        "| step | time |",
        "| --- | --- |",
        *(f"| {step} | {time_} |" for step, time_ in steps),
        f"| **all of `make up`** | **{int(seconds // 60)} min {int(seconds % 60):02d} s** |",
    ]


def _engine(stack: Stack, environment: Mapping[str, str], folder: Path, *arguments: str) -> str:
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


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _machine() -> str:
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
