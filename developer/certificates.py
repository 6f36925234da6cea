"""`make benchmark ARGS=--certificates`: what a registry of certificates costs, as it grows.

A program with nothing but an authority and so many certificates is run by the real engine with the real TLS provider: a
preview, the first `up`, one with nothing to change, and one that makes a single certificate anew. No Docker is asked.
"""

import re
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from developer.benchmark import PROJECT_FILE, engine, machine, seconds
from operations.stack import Stack

SIZES: Final = (10, 100, 1000)
STEPS: Final = ("preview, before anything is there", "first `up`", "`up`, nothing to change", "`up` that renews one")
_NAME: Final = "certificates"
_PROGRAM: Final = '''\
"""As many certificates as are asked for."""

import gc
import sys

import pulumi

gc.disable()
sys.path.insert(0, {root!r})

from components import pki
from settings.pki import Pki
from settings.registry import Issued, Read

config = pulumi.Config()
settings = Pki(
    certificates={{
        f"service-{{number}}": Issued(
            names=(f"DNS:service-{{number}}.internal",), issue=config.require_int("issue") if number == 0 else 1
        )
        for number in range(config.require_int("count"))
    }}
)
authorities = pki.authorities("authority", settings.every_authority, "benchmark")
registry = pki.registry(settings, authorities, Read(imported={{}}, external={{}}, client_authorities={{}}))
pulumi.export("pki_inventory", pki.inventory(authorities, {{}}, [], registry))
'''


def measured(stack: Stack, sizes: Sequence[int] = SIZES) -> list[str]:
    """Return the table: seconds of each step, for each number of certificates; with the toolchain of `stack`."""
    found: dict[int, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**stack.environment, "PULUMI_BACKEND_URL": f"file://{folder}"}
        project = Path(folder) / _NAME
        project.mkdir()
        text = PROJECT_FILE.format(name=_NAME, venv=stack.layout.venv)
        (project / "Pulumi.yaml").write_text(text, encoding="utf-8")
        (project / "__main__.py").write_text(_PROGRAM.format(root=str(stack.layout.root)), encoding="utf-8")
        for size in sizes:
            found[size] = list(_steps(partial(engine, stack, environment, project), size))
            print(f"{size} certificates: {', '.join(f'{one:.1f} s' for one in found[size])}", flush=True)
    return table(found)


def _steps(run: "partial[str]", size: int) -> Sequence[float]:
    name = f"of-{size}"
    run("stack", "init", name)
    run("config", "set", "count", str(size), "--stack", name)
    run("config", "set", "issue", "1", "--stack", name)
    up = partial(run, "up", "--yes", "--skip-preview", "--non-interactive", "--suppress-outputs", "--stack", name)
    times = [seconds(partial(run, "preview", "--non-interactive", "--suppress-outputs", "--stack", name)), seconds(up)]
    said: list[str] = []
    times.append(seconds(lambda: said.append(up())))
    if not re.search(r"^\s+\d+ unchanged\s*$", said[0], re.MULTILINE):
        raise SystemExit(f"a second run has changed something:\n{said[0]}")
    run("config", "set", "issue", "2", "--stack", name)
    return [*times, seconds(up)]


def table(found: Mapping[int, Sequence[float]]) -> list[str]:
    """Return the table of what was measured: seconds of each of STEPS by number of certificates, in rising order."""
    sizes = list(found)
    small, large = sizes[-2:]
    slopes = [(last - first) / (large - small) * 1000 for first, last in zip(found[small], found[large], strict=True)]
    return [
        f"Certificates with keys on P-256, one run each, {machine()}.",
        "",
        f"| step | {' | '.join(map(str, sizes))} | ms for each more, from {small} on |",
        f"| --- | {' | '.join('---' for _ in sizes)} | --- |",
        *(
            f"| {step} | {' | '.join(f'{found[size][place]:.1f} s' for size in sizes)} | {slopes[place]:.0f} |"
            for place, step in enumerate(STEPS)
        ),
    ]
