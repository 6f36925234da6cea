"""`make benchmark ARGS=--certificates`: what a registry of certificates costs, as it grows.

A program with nothing but an authority and so many certificates is run by the real engine with the real TLS provider: a
preview, the first `up`, one with nothing to change, one that makes a single certificate anew, and then what concerns
all of them: leaves, keys, whole certificates, and none any more. No Docker is asked. All is run as `make up` does it
(operations/bulk.py); the first `up`, on a stack of its own, also as the engine does it by itself, for the smaller sizes
only, as what that takes grows with the square.
"""

import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

from developer.benchmark import PROJECT_FILE, engine, machine, seconds
from operations import bulk, rekeying
from operations.healing import of_type
from operations.rekeying import Aged
from operations.resource_types import LEAF_TYPE
from operations.stack import SAVES_AT_END, Stack
from operations.state import StateFiles
from settings.pki import Pki
from settings.registry import Issued

SIZES: Final = (10, 100, 1000)
ALONE_UP_TO: Final = 100
"""How many the engine is given by itself: ten times as many take it an hour."""
ALONE: Final = "first `up`, by the engine alone"
STEPS: Final = (
    "preview, before anything is there",
    "first `up`",
    ALONE,
    "`up`, nothing to change",
    "`up` that renews one",
    "`up` that renews all",
    "`up` with new keys for all, in their place",
    "`up` with others for all (`rotate --all`)",
    "`up` that takes all away",
)
_NAME: Final = "certificates"
_REGISTRY: Final = "registry.json"
_PROGRAM: Final = '''\
"""As many certificates as are asked for."""

import gc
import sys
from pathlib import Path

import pulumi

gc.disable()
sys.path.insert(0, {root!r})

from components import pki
from components.base.sdk import drop_debug_messages, export
from settings.pki import Pki
from settings.registry import Read

drop_debug_messages()
settings = Pki.model_validate_json(Path({registry!r}).read_text(encoding="utf-8"))
authorities = pki.authorities("authority", settings, "benchmark")
registry = pki.registry(settings, authorities, Read(imported={{}}, external={{}}, client_authorities={{}}))
export({{"pki_inventory": pki.inventory(authorities, {{}}, [], registry)}})
'''


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a step takes."""

    seconds: float
    processor_seconds: float
    """Of the engine and all it starts; it hardly depends on what else the machine does."""

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s ({self.processor_seconds:.1f})"


def measured(stack: Stack, sizes: Sequence[int] = SIZES) -> list[str]:
    """Return the table: what each step takes, for each number of certificates; with the toolchain of `stack`."""
    found: dict[int, dict[str, Taken]] = {}
    loads: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        environment = {**stack.environment, "PULUMI_BACKEND_URL": f"file://{folder}"}
        project = Path(folder) / _NAME
        project.mkdir()
        text = PROJECT_FILE.format(name=_NAME, venv=stack.layout.venv)
        (project / "Pulumi.yaml").write_text(text, encoding="utf-8")
        program = _PROGRAM.format(root=str(stack.layout.root), registry=_REGISTRY)
        (project / "__main__.py").write_text(program, encoding="utf-8")
        for size in sizes:
            found[size] = {}
            for step, run in _steps(stack, environment, project, size, Path(folder)):
                found[size][step] = _taken(run)
                loads.append(os.getloadavg()[0])
                print(f"{size} certificates, {step}: {found[size][step]}", flush=True)
    return table(found, loads=loads)


def _steps(
    of: Stack, environment: Mapping[str, str], project: Path, size: int, state: Path
) -> Sequence[tuple[str, Callable[[], object]]]:
    """Return the steps to measure, in their order."""
    name, file = f"of-{size}", project / _REGISTRY
    alone = f"{name}-alone"
    files = StateFiles(folder=state, project=_NAME, stack=name, root=project)

    def pulumi(*arguments: str, **more: str) -> str:
        return engine(of, {**environment, **more}, project, *arguments)

    def up(stack: str, *flags: str, **more: str) -> str:
        plain = ("up", "--yes", "--skip-preview", "--non-interactive", "--suppress-outputs")
        return pulumi(*plain, "--stack", stack, *flags, **more)

    def set_to(settings: Pki) -> Pki:
        file.write_text(settings.model_dump_json(), encoding="utf-8")
        return settings

    def make_up(settings: Pki, *, has_old_keys: bool = False) -> None:
        """Run what `make up` does; where it `has_old_keys`, all are too old."""
        set_to(settings)
        resources = files.resources()
        leaves = of_type(resources, LEAF_TYPE) if has_old_keys else ()
        keys = [Aged(name=one["urn"], days=0, leaf=one["urn"]) for one in leaves]
        now = datetime.now(UTC)
        wanted = bulk.wanted(settings, resources, project=_NAME, stack=name, now=now, aged=keys)
        leaving = bulk.leaving(settings, resources, project=_NAME, stack=name)
        for urns in bulk.runs(wanted) if wanted.is_much else ():
            up(name, *bulk.targets(urns, wanted.replaced), **SAVES_AT_END)
        up(name, *rekeying.flags([] if wanted.is_much else keys), *bulk.spared(leaving))
        if leaving:
            up(name, *bulk.spared(bulk.OUTSIDE), **SAVES_AT_END)

    def unchanged() -> None:
        said = up(name)
        if not re.search(r"^\s+\d+ unchanged\s*$", said, re.MULTILINE):
            raise SystemExit(f"a second run has changed something:\n{said}")

    settings = set_to(registry(size))
    pulumi("stack", "init", alone)
    pulumi("stack", "init", name)
    preview = partial(pulumi, "preview", "--non-interactive", "--suppress-outputs", "--stack", name)
    one = registry(size, first=2)
    shorter = one.model_copy(update={"certificate_validity_hours": 80 * 24})
    others = registry(size, first=3, issue=2)
    steps: list[Callable[[], object]] = [
        preview,
        partial(make_up, settings),
        partial(up, alone),
        unchanged,
        partial(make_up, one),
        partial(make_up, shorter),
        partial(make_up, shorter, has_old_keys=True),
        partial(make_up, others),
        partial(make_up, Pki()),
    ]
    return [pair for pair in zip(STEPS, steps, strict=True) if pair[0] != ALONE or size <= ALONE_UP_TO]


def _taken(run: Callable[[], object]) -> Taken:
    before = os.times()
    passed = seconds(run)
    after = os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return Taken(seconds=passed, processor_seconds=processor)


def registry(count: int, *, issue: int = 1, first: int | None = None) -> Pki:
    """Return the settings of so many certificates, each its name's `issue`th; the first of them its `first`th."""
    numbers = [first or issue, *[issue] * (count - 1)]
    return Pki(
        certificates={
            f"service-{number}": Issued(names=(f"DNS:service-{number}.internal",), issue=each)
            for number, each in enumerate(numbers)
        }
    )


def table(found: Mapping[int, Mapping[str, Taken]], *, loads: Sequence[float]) -> list[str]:
    """Return the table of what was measured: each of STEPS by number of certificates, in rising order.

    `loads` are those of the machine meanwhile. Where a step was not measured, nothing stands.
    """
    sizes = list(found)
    pairs = list(pairwise(sizes))

    def slope(step: str, small: int, large: int) -> str:
        first, last = found[small].get(step), found[large].get(step)
        if first is None or last is None:
            return ""
        return f"{(last.processor_seconds - first.processor_seconds) / (large - small) * 1000:.0f}"

    def row(step: str) -> list[str]:
        times = [str(found[size].get(step, "")) for size in sizes]
        return [step, *times, *(slope(step, *pair) for pair in pairs)]

    head = ["step", *map(str, sizes), *(f"ms for each more, {small} to {large}" for small, large in pairs)]
    return [
        f"Certificates with keys on P-256, one run each, {machine()}, load of {min(loads):.0f} to {max(loads):.0f}."
        " In brackets the seconds of processor time, which each more is reckoned by.",
        "",
        f"| {' | '.join(head)} |",
        f"|{' --- |' * len(head)}",
        *(f"| {' | '.join(row(step))} |" for step in STEPS),
    ]
