"""`python -m developer.benchmark --compose`: what this program costs beside docker compose, on the very same stack.

From a deployed stack a compose project is derived: the same images, commands, environment, files, limits, health
checks, networks, ports and data. Then each tool in turn takes the stack through a whole life (up from nothing, nothing
to change, one container changed, down), as only one of them can hold the ports and the data at a time; and ratios are
taken round by round. The result is written into docs/performance.md, and the stack is left as it was found.

Versions of this program are compared with each other by naming a checkout of each: `--checkout DIR@STACK`. What a
checkout's state knows (keys, passwords) fits its own stack's volumes only, so no two may have the same stack name. The
compose project is derived from the first.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

import yaml

from components.base.ownership import LABEL_STACK
from developer.benchmark import PAGE, replaced
from developer.compose_model import (
    LABEL_SERVICE,
    ComparisonError,
    Deployed,
    Graph,
    Json,
    by_service,
    compose_model,
    deployment,
    differences,
    service_of,
)

ROOT: Final = Path(__file__).resolve().parents[1]
CHANGED_SERVICE: Final = "web"
CHANGED_BY_MIB: Final = 16
PEER: Final = "docker compose"
COMPOSE_PROJECT: Final = "com.docker.compose.project"
COMPOSE_SERVICE: Final = "com.docker.compose.service"

_ENGINE: Final = ("pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--suppress-outputs", "--stack")
_CREATED, _STARTED, _HEALTHY = "create", "start", "health_status: healthy"
_KILLED, _DIED, _REMOVED = "kill", "die", "destroy"
_MOMENTS: Final = {
    # Docker's name of an event → ours, in the order of a replacement.
    _KILLED: "told to stop",
    _DIED: "ended",
    _REMOVED: "removed",
    _CREATED: "created",
    _STARTED: "started",
    _HEALTHY: "healthy",
}
_EVENT_LAG_SECONDS: Final = 0.5
"""How long the last events of a command may take to arrive."""

Timeline = Mapping[str, Mapping[str, float]]
"""Service → event → when it first happened, in seconds after the command began."""


class Row(Enum):
    """What is measured, as the table calls it."""

    COLD = "from nothing, data kept"
    ENGINE = "nothing to change, the engine alone"
    NOTHING = "nothing to change"
    CHANGE = "one container changed"
    DOWN = "down, data kept"


LIFE: Final = (
    Row.COLD, Row.NOTHING, Row.ENGINE, Row.NOTHING, Row.ENGINE, Row.NOTHING, Row.ENGINE, Row.CHANGE, Row.CHANGE,
    Row.DOWN,
)  # fmt: skip
"""One life of a stack. The second change takes the first one back."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """What is run, and where."""

    arguments: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = field(repr=False)

    def run(self) -> float:
        """Run it and return the seconds it took.

        Raises: ComparisonError with all it said if it fails.
        """
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
            started = time.perf_counter()
            process = subprocess.Popen(
                self.arguments,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
            try:
                status = process.wait()
            finally:
                # Interrupted from the keyboard it is on its way out as well; what comes next must not overtake it.
                process.wait()
            seconds = time.perf_counter() - started
            if status != 0:
                said.seek(0)
                raise ComparisonError(f"{' '.join(self.arguments)} ended with status {status}:\n{said.read().strip()}")
        return seconds


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Who takes part."""

    title: str
    label: str
    """What its containers are found by, as `key=value`."""
    service_label: str
    """The label that holds a container's service."""
    commands: Mapping[Row, Command]
    """Without the rows that are not for it."""
    change: Callable[[bool], None]
    """Change the one service's memory limit in what the commands read, or take that back."""
    waits_for: Graph
    environment: Mapping[str, str] = field(repr=False)
    """What makes a `docker` command talk to its host."""


@dataclass(frozen=True, kw_only=True)
class Life:
    """One life of a stack, measured."""

    seconds: Mapping[Row, Sequence[float]]
    """Each time it was done."""
    timelines: Mapping[Row, Timeline]
    """Of the last time each was done."""
    chain: tuple[str, ...]
    """The longest chain of services that had to wait for each other's health in the cold start."""
    chain_seconds: float
    """From start to first health, added up along it: what no tool can be faster than."""

    def median(self, row: Row) -> float:
        """Return the seconds of what may have been done more than once."""
        return statistics.median(self.seconds[row])


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A version of this program with a stack and a state of its own."""

    root: Path
    stack: str

    @property
    def prefix(self) -> str:
        """What the names of its stack on the host start with."""
        return f"{_project(self.root)}-{self.stack}"

    @property
    def label(self) -> str:
        """What its stack is found by on the host."""
        return f"{LABEL_STACK}={self.prefix}"

    @property
    def stack_file(self) -> Path:
        """Where its settings are."""
        return self.root / f"Pulumi.{self.stack}.yaml"

    @property
    def commit(self) -> str:
        """Which version it is."""
        return _output(("git", "rev-parse", "--short", "HEAD"), self.root, os.environ).strip()

    def environment(self) -> dict[str, str]:
        """Return what its engine runs in."""
        around = outside(os.environ)
        # Asked of the checkout itself, which may be of another version.
        said = _output(
            (around.get("PYTHON", "python3"), "-m", "toolchain", "run", "--", "env", "-0"), self.root, around
        )
        return dict(line.split("=", 1) for line in said.split("\0") if "=" in line)

    def make(self, target: str) -> Command:
        """Return the command that makes `target`."""
        return Command(
            arguments=("make", target, f"STACK={self.stack}"), folder=self.root, environment=outside(os.environ)
        )

    def state(self) -> Json:
        """Return the engine's state, secrets and all: for this process alone."""
        asked = ("pulumi", "stack", "export", "--show-secrets", "--stack", self.stack)
        state: Json = json.loads(_output(asked, self.root, self.environment()))
        return state

    def is_up(self) -> bool:
        """Return whether its state knows of containers."""
        return bool(deployment(self.state()).waits_for)

    def change(self, original: bytes, project: str, mib: int, changed: bool) -> None:
        """Write the stack file with another memory limit of the one service, or as it was."""
        content = changed_memory(original.decode(), project, mib).encode() if changed else original
        self.stack_file.write_bytes(content)

    def contender(self, title: str, found: "Found") -> Contender:
        """Return it as one who takes part."""
        up = self.make("up")
        engine = Command(arguments=(*_ENGINE, self.stack), folder=self.root, environment=self.environment())
        return Contender(
            title=title,
            label=self.label,
            service_label=LABEL_SERVICE,
            commands={Row.COLD: up, Row.ENGINE: engine, Row.NOTHING: up, Row.CHANGE: up, Row.DOWN: self.make("down")},
            change=partial(self.change, self.stack_file.read_bytes(), _project(self.root), found.other_mib),
            waits_for=found.waits_for,
            environment=found.environment,
        )


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a checkout has deployed."""

    containers: Sequence[Json] = field(repr=False)
    networks: Sequence[Json] = field(repr=False)
    deployed: Deployed
    environment: Mapping[str, str] = field(repr=False)
    """What makes a `docker` command talk to its host."""

    @classmethod
    def of(cls, one: Checkout) -> "Found":
        """Return what is there of a checkout's stack while it is up."""
        deployed = deployment(one.state())
        environment = outside(os.environ) | {"DOCKER_HOST": deployed.docker_host}
        return cls(
            containers=_inspected(one.label, "container", environment),
            networks=_inspected(one.label, "network", environment),
            deployed=deployed,
            environment=environment,
        )

    @property
    def waits_for(self) -> Graph:
        """Which service waits for which."""
        return by_service(self.deployed.waits_for, self.containers)

    @property
    def other_mib(self) -> int:
        """The memory limit the one service is changed to."""
        (memory,) = [one["HostConfig"]["Memory"] for one in self.containers if service_of(one) == CHANGED_SERVICE]
        return int(memory) // 1024**2 + CHANGED_BY_MIB


@dataclass(frozen=True, kw_only=True)
class Project:
    """The compose project, in a folder nobody else can read: its file holds the stack's secrets."""

    tool: tuple[str, ...]
    folder: Path
    name: str
    environment: Mapping[str, str] = field(repr=False)

    @property
    def file(self) -> Path:
        """Where it is described."""
        return self.folder / "compose.json"

    def command(self, *arguments: str) -> Command:
        """Return the command that runs compose on it."""
        return Command(
            arguments=(*self.tool, "--file", str(self.file), "--project-name", self.name, *arguments),
            folder=self.folder,
            environment=self.environment,
        )

    def change(self, model: Json, mib: int, changed: bool) -> None:
        """Write its file, with another memory limit of the one service or without."""
        if changed:
            limits = {"mem_limit": mib * 1024**2, "memswap_limit": mib * 1024**2}
            services = model["services"]
            model = {**model, "services": {**services, CHANGED_SERVICE: {**services[CHANGED_SERVICE], **limits}}}
        # YAML holds JSON, and so needs no other quoting.
        self.file.write_text(json.dumps(model, ensure_ascii=False), encoding="utf-8")

    def contender(self, model: Json, found: Found) -> Contender:
        """Return it as one who takes part."""
        up = self.command("up", "--detach", "--wait")
        return Contender(
            title=PEER,
            label=f"{COMPOSE_PROJECT}={self.name}",
            service_label=COMPOSE_SERVICE,
            commands={Row.COLD: up, Row.NOTHING: up, Row.CHANGE: up, Row.DOWN: self.command("down")},
            change=partial(self.change, model, found.other_mib),
            waits_for=found.waits_for,
            environment=self.environment,
        )


def main(words: Sequence[str] | None = None) -> int:
    """Measure what `words` ask for, or the command line does, and write it down."""
    parser = argparse.ArgumentParser(
        prog="python -m developer.benchmark --compose",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stack", default="dev", help="the stack of a checkout that names none (default: dev)")
    parser.add_argument(
        "--checkout",
        action="append",
        metavar="DIR[@STACK]",
        help="a checkout to measure, again for another (default: this one)",
    )
    parser.add_argument("--rounds", type=int, default=3, help="lives of each, after a warm-up (default: 3)")
    parser.add_argument("--trace", action="store_true", help="print when each container did what in the last round")
    arguments = parser.parse_args(words)
    # Whoever was started in the background of a script ignores it, and so would the engine: it stops its plugins by
    # this signal, and waits five seconds for each that does not hear it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _leave)
    try:
        checkouts = distinct(checkout(text, arguments.stack) for text in arguments.checkout or [str(ROOT)])
        lines = compared(checkouts, compose_command(os.environ), arguments.rounds, trace=arguments.trace)
    except ComparisonError as error:
        sys.exit(str(error))
    page = ROOT / PAGE
    page.write_text(replaced(page.read_text(encoding="utf-8"), "compose", "\n".join(lines)), encoding="utf-8")
    print(f"Written into {PAGE}.")
    return 0


def _leave(*_: int | FrameType | None) -> None:
    # As an exception, so that everything is left as it was found.
    sys.exit(128 + signal.SIGTERM)


def checkout(text: str, stack: str) -> Checkout:
    """Return the checkout that `text` names, as `DIR` or `DIR@STACK`."""
    folder, at, name = text.rpartition("@")
    if not at or "/" in name:
        folder, name = text, stack
    return Checkout(root=Path(folder).resolve(), stack=name)


def distinct(checkouts: Iterable[Checkout]) -> list[Checkout]:
    """Return `checkouts` if each has names of its own on the host.

    Raises: ComparisonError if two would write into the same volumes, each with keys and passwords of its own.
    """
    by_prefix: dict[str, Checkout] = {}
    for one in checkouts:
        other = by_prefix.setdefault(one.prefix, one)
        if other is not one:
            raise ComparisonError(f"{other.root} and {one.root} both have a stack {one.stack}: give one another name")
    return list(by_prefix.values())


def compose_command(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return what runs docker compose: what DOCKER_COMPOSE names, or else the plugin of the docker command.

    Raises: ComparisonError if there is neither.
    """
    tool = (environ["DOCKER_COMPOSE"],) if environ.get("DOCKER_COMPOSE") else ("docker", "compose")
    try:
        if subprocess.run((*tool, "version"), env=environ, capture_output=True, check=False).returncode == 0:
            return tool
    except FileNotFoundError:
        pass
    raise ComparisonError(
        f"{' '.join(tool)} does not work. Install the compose plugin of the docker command (package "
        "docker-compose-plugin or docker-compose, or a docker-compose program in ~/.docker/cli-plugins), or name a "
        "program of version 2 in DOCKER_COMPOSE"
    )


def outside(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what belongs to the checkout this runs in, or to the `make` around it.

    Another checkout would take the one's state and passphrase for the caller's own choice.
    """
    around = ("ARGS", "STACK", "MFLAGS", "MAKEFLAGS", "MAKELEVEL")
    return {name: value for name, value in environ.items() if name not in around and not name.startswith("PULUMI_")}


def compared(checkouts: Sequence[Checkout], tool: tuple[str, ...], rounds: int, *, trace: bool) -> list[str]:
    """Return the table of `rounds` lives of each.

    Raises: ComparisonError if a command fails or does something else than it should.
    """
    with contextlib.ExitStack() as after:
        folder = Path(after.enter_context(tempfile.TemporaryDirectory()))
        for one in checkouts:
            was_up = one.is_up()
            after.callback(_as_found, one, was_up)
            after.callback(one.stack_file.write_bytes, one.stack_file.read_bytes())
            if was_up:
                _say(one.stack, "down", one.make("down").run())
        found: list[Found] = []
        for one in checkouts:
            _say(f"{one.commit}, warm-up", Row.COLD.value, one.make("up").run())
            found.append(Found.of(one))
            _say(f"{one.commit}, warm-up", Row.DOWN.value, one.make("down").run())
        first = found[0]
        project = Project(
            tool=tool, folder=folder, name=f"{checkouts[0].prefix}-compose", environment=first.environment
        )
        model = compose_model(checkouts[0].prefix, first.containers, first.networks, first.deployed)
        peer = project.contender(model, first)
        peer.change(False)
        after.callback(peer.commands[Row.DOWN].run)
        _say(f"{PEER}, warm-up", Row.COLD.value, peer.commands[Row.COLD].run())
        same(first.containers, checkouts[0].prefix, _inspected(peer.label, "container", peer.environment), project.name)
        _say(f"{PEER}, warm-up", Row.DOWN.value, peer.commands[Row.DOWN].run())
        titles = ["ours"] if len(checkouts) == 1 else [f"{one.commit} ({one.stack})" for one in checkouts]
        ours = [one.contender(title, each) for one, title, each in zip(checkouts, titles, found, strict=True)]
        contenders = [peer, *ours]
        lives: list[dict[str, Life]] = []
        loads = []
        for number in range(rounds):
            loads.append(os.getloadavg()[0])
            turn = number % len(contenders)
            lives.append(
                {
                    contender.title: life(contender, f"{contender.title}, round {number + 1}")
                    for contender in (*contenders[turn:], *contenders[:turn])
                }
            )
        if trace:
            for contender in contenders:
                print("\n".join(traced(contender, lives[-1][contender.title])))
        version = _output((*tool, "version", "--short"), folder, project.environment).strip()
        head = (
            f"{len(first.containers)} containers, {rounds} rounds after a warm-up, {os.cpu_count()} cores, "
            f"load of {min(loads):.0f} to {max(loads):.0f} before a round, {PEER} {version}. "
            "Seconds: median [min–max]; ratios round by round."
        )
        return [head, "", *table(lives)]


def same(ours: Sequence[Json], prefix: str, theirs: Sequence[Json], project: str) -> None:
    """Make sure that compose has made of its file the containers that we have made.

    Raises: ComparisonError if it has not.
    """
    by_name = {one["Config"]["Labels"][COMPOSE_SERVICE]: one for one in theirs}
    wrong = {service_of(one): differences(one, f"{prefix}-", by_name[service_of(one)], f"{project}_") for one in ours}
    if any(wrong.values()):
        raise ComparisonError(
            f"compose has made other containers: { ({key: wrong[key] for key in wrong if wrong[key]}) }"
        )


def _as_found(one: Checkout, was_up: bool) -> None:
    # An interrupted run leaves any of them up.
    if was_up:
        _say(one.stack, "up again", one.make("up").run())
    elif one.is_up():
        _say(one.stack, "down again", one.make("down").run())


def life(contender: Contender, who: str) -> Life:
    """Take a stack that is down through one life, and leave it down again."""
    seconds: dict[Row, list[float]] = defaultdict(list)
    timelines: dict[Row, Timeline] = {}
    changed = False
    for row in LIFE:
        if row not in contender.commands:
            continue
        if row is Row.CHANGE:
            changed = not changed
            contender.change(changed)
        with watch(contender) as happened:
            seconds[row].append(contender.commands[row].run())
        _say(who, row.value, seconds[row][-1])
        timelines[row] = happened
        check(row, happened, contender.waits_for.keys())
    chain_seconds, chain = longest_chain(contender.waits_for, timelines[Row.COLD])
    return Life(
        seconds=seconds,
        timelines=timelines,
        chain=chain,
        chain_seconds=chain_seconds,
    )


def check(row: Row, timeline: Timeline, services: Iterable[str]) -> None:
    """Make sure that a command has done what its row says.

    Raises: ComparisonError if it has not.
    """
    expected: set[str]
    match row:
        case Row.COLD:
            expected, moment = set(services), _HEALTHY
        case Row.DOWN:
            expected, moment = set(services), _REMOVED
        case Row.CHANGE:
            expected, moment = {CHANGED_SERVICE}, _CREATED
        case Row.NOTHING | Row.ENGINE:
            expected, moment = set(), _CREATED
    found = {service for service, moments in timeline.items() if moment in moments}
    if found != expected:
        raise ComparisonError(
            f"{row.value}: {sorted(expected)} should have been {_MOMENTS[moment]}, not {sorted(found)}"
        )


@contextlib.contextmanager
def watch(contender: Contender) -> Iterator[dict[str, dict[str, float]]]:
    """Yield what is filled, at the end, with what happened to a contender's containers meanwhile.

    Docker itself remembers a few hundred events and each health check is three of them, so they are listened to.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        filters = [f"label={contender.label}", "type=container"]
        # Docker matches what stands before a colon.
        filters += [f"event={moment.partition(':')[0]}" for moment in _MOMENTS]
        began = time.time()
        listener = subprocess.Popen(
            (
                "docker", "events", "--since", f"{began:.6f}", "--format", "{{json .}}",
                *(f"--filter={one}" for one in filters),
            ),
            env=contender.environment,
            stdout=said,
        )  # fmt: skip
        happened: dict[str, dict[str, float]] = {}
        try:
            yield happened
            time.sleep(_EVENT_LAG_SECONDS)
        finally:
            listener.terminate()
            listener.wait()
        said.seek(0)
        happened |= timeline(said, contender.service_label, began)


def timeline(lines: Iterable[str], service_label: str, began: float) -> dict[str, dict[str, float]]:
    """Return what Docker says in its events, one JSON object a line; `began` is the time that counts as 0."""
    happened: dict[str, dict[str, float]] = defaultdict(dict)
    for line in lines:
        event = json.loads(line)
        service = event["Actor"]["Attributes"].get(service_label)
        if service and event["Action"] in _MOMENTS:
            happened[service].setdefault(event["Action"], event["timeNano"] / 1e9 - began)
    return dict(happened)


def longest_chain(waits_for: Graph, cold: Timeline) -> tuple[float, tuple[str, ...]]:
    """Return the longest way through `waits_for` by the time from start to first health, and who is on it."""
    found: dict[str, tuple[float, tuple[str, ...]]] = {}

    def until(service: str) -> tuple[float, tuple[str, ...]]:
        if service not in found:
            before, chain = max(map(until, sorted(waits_for[service])), default=(0.0, ()))
            found[service] = before + cold[service][_HEALTHY] - cold[service][_STARTED], (*chain, service)
        return found[service]

    return max(map(until, sorted(waits_for)), default=(0.0, ()))


def changed_memory(text: str, project: str, mib: int) -> str:
    """Return the stack file `text` with `mib` for the memory limit of the one service.

    Both spellings are known, that of releases before the tree among them, so that versions can be compared.

    Raises: ComparisonError if the file has neither.
    """
    content: dict[str, Any] = yaml.safe_load(text)
    config = content["config"]
    if f"{project}:memory_mib" in config:
        config[f"{project}:memory_mib"][CHANGED_SERVICE] = mib
    elif f"{project}:application" in config:
        config[f"{project}:application"].setdefault(CHANGED_SERVICE, {})["memory_mib"] = mib
    else:
        raise ComparisonError("the stack file has no memory limits to change")
    return yaml.safe_dump(content, sort_keys=False)


def table(lives: Sequence[Mapping[str, Life]]) -> list[str]:
    """Return the table; each round holds everybody's life by title."""
    ours = [title for title in lives[0] if title != PEER]
    rows = [
        ("`make up` and `up --wait`: from nothing", Row.COLD, Row.COLD),
        ("`pulumi up` and `up --wait`: nothing to change", Row.ENGINE, Row.NOTHING),
        ("`make up` and `up --wait`: nothing to change", Row.NOTHING, Row.NOTHING),
        ("`make up` and `up --wait`: one container changed", Row.CHANGE, Row.CHANGE),
        ("`make down` and `down`", Row.DOWN, Row.DOWN),
    ]
    lines = [
        _line("what", PEER, *(cell for title in ours for cell in (title, "ratio"))),
        "| --- " * (2 + 2 * len(ours)) + "|",
    ]
    for what, row, peer_row in rows:
        theirs = [everybody[PEER].median(peer_row) for everybody in lives]
        cells = [_spread(theirs)]
        for title in ours:
            mine = [everybody[title].median(row) for everybody in lives]
            cells += [_spread(mine), _spread([a / b for a, b in zip(mine, theirs, strict=True)])]
        lines.append(_line(what, *cells))
    lines.append(_beside("the longest chain of starts in it, each until healthy", lives, lambda one: one.chain_seconds))
    lines.append(
        _beside("all of it as a multiple of that chain", lives, lambda one: one.median(Row.COLD) / one.chain_seconds)
    )
    return lines


def _beside(what: str, lives: Sequence[Mapping[str, Life]], value: Callable[[Life], float]) -> str:
    """Return a row of figures that say something of each alone."""
    ours = [title for title in lives[0] if title != PEER]
    cells = {title: _spread([value(everybody[title]) for everybody in lives]) for title in lives[0]}
    return _line(what, cells[PEER], *(cell for title in ours for cell in (cells[title], "")))


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f}–{max(values):.2f}]"


def traced(contender: Contender, one: Life) -> list[str]:
    """Return when each container did what, in the order they did it, the last time of each row."""
    lines = []
    for row in (Row.COLD, Row.CHANGE, Row.DOWN):
        happened = one.timelines[row]
        shown = [moment for moment in _MOMENTS if any(moment in moments for moments in happened.values())]
        head = ["container", *(_MOMENTS[moment] for moment in shown)]
        if row is Row.COLD:
            head += ["those it waits for healthy", "in the longest chain"]
        lines += [
            "",
            f"{contender.title}: {row.value}, {one.seconds[row][-1]:.2f} s in all",
            "",
            _line(*head),
            "| --- " * len(head) + "|",
        ]
        for service, moments in sorted(happened.items(), key=lambda item: min(item[1].values())):
            cells = [f"{moments[moment]:.2f}" if moment in moments else "" for moment in shown]
            if row is Row.COLD:
                begin = max((happened[other][_HEALTHY] for other in contender.waits_for[service]), default=0.0)
                cells += [f"{begin:.2f}", "yes" if service in one.chain else ""]
            lines.append(_line(service, *cells))
    return lines


def _project(root: Path) -> str:
    return str(yaml.safe_load((root / "Pulumi.yaml").read_text(encoding="utf-8"))["name"])


def _inspected(label: str, kind: str, environ: Mapping[str, str]) -> list[Json]:
    every = ("--all",) if kind == "container" else ()
    ids = _output(("docker", kind, "ls", *every, "--quiet", "--filter", f"label={label}"), ROOT, environ).split()
    found: list[Json] = json.loads(_output(("docker", kind, "inspect", *ids), ROOT, environ))
    return found


def _output(arguments: tuple[str, ...], folder: Path, environ: Mapping[str, str]) -> str:
    done = subprocess.run(arguments, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ComparisonError(f"{' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _say(who: str, what: str, seconds: float) -> None:
    print(f"{who}: {what}: {seconds:.2f} s", flush=True)
