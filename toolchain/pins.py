"""The pinned set: read it, move a pin, and prove that every derived file agrees with it."""

import difflib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolchain import system
from toolchain.layout import ROOT, ToolchainError

PLUGINS = ("docker", "tls", "command", "random", "aws")
"""Every provider plugin the program may use; aws is optional."""

PROGRAMS = ("pulumi", "caddy", "garage", "ollama", "go")
"""Parts with a table of their own that holds nothing but a version."""

_HEADER = "# Made from toolchain/versions.toml by `make pin`. Do not edit.\n"
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+!-]*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(@sha256:[0-9a-f]{64})?\Z")
_REQUIRED_PULUMI = re.compile(r"^(requiredPulumiVersion: )\S+", re.MULTILINE)
_DEBIAN_IMAGE = "recipes.debian_image"
# What the program (besides Pulumi's own packages) and the tests and checks ask for themselves. All other packages are
# there for the sake of these, and leave with them.
_DIRECT_RUNTIME = ("certifi", "cryptography", "idna", "pydantic", "pyyaml", "segno")
_DIRECT_DEV = (
    "authentik-client",
    "hypothesis",
    "jsonschema",
    "mypy",
    "pytest",
    "pytest-xdist",
    "ruff",
    "selenium",
    "types-jsonschema",
    "types-pyyaml",
)
_GO_MODULES = ("github.com/pulumi/pulumi/pkg/v3", "github.com/pulumi/pulumi/sdk/v3")


class Pins:
    """What `versions.toml` says."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.data: dict[str, Any] = tomllib.loads(text)

    @classmethod
    def read(cls, root: Path = ROOT) -> "Pins":
        """Return the pinned set of the checkout at `root`."""
        return cls((root / "toolchain" / "versions.toml").read_text(encoding="utf-8"))

    def version(self, part: str) -> str:
        """Return the version of a program or a plugin."""
        table = self.data if part in PROGRAMS else self.data["plugins"]
        return str(table[part]["version"])

    def names(self) -> list[str]:
        """Return every name `make pin` accepts as PART."""
        tables = [f"{table}.{name}" for table in ("images", "recipes") for name in self.data[table]]
        return [*PROGRAMS, *PLUGINS, *tables, *self.data["python"]["runtime"], *self.data["python"]["dev"]]

    def minimum(self, what: str) -> str:
        """Return the oldest acceptable version of something the machine brings along."""
        return str(self.data["minimum"][what])

    def sha256(self, part: str, platform: str) -> str | None:
        """Return the pinned sha256 of a release archive (64 hex digits), or None where none is pinned."""
        value = self.data.get("sha256", {}).get(part, {}).get(platform)
        return str(value) if value else None

    def sdks(self) -> dict[str, str]:
        """Return Pulumi's own Python packages: name → version."""
        names = {"pulumi": self.version("pulumi")}
        names.update({f"pulumi-{name}": self.version(name) for name in PLUGINS})
        return names


def requirements(pins: Pins) -> dict[str, str]:
    """Return the text of the requirement files made from `pins`: path → text.

    requirements.txt is what `pulumi install` installs too. pulumi-aws stands in a file of its own: a language host
    takes an SDK that is installed for one whose plugin is needed.
    """
    runtime = {**pins.sdks(), **pins.data["python"]["runtime"]}
    aws = f"pulumi-aws=={runtime.pop('pulumi-aws')}\n"
    lines = "".join(f"{name}=={runtime[name]}\n" for name in sorted(runtime))
    dev = pins.data["python"]["dev"]
    dev_lines = "".join(f"{name}=={dev[name]}\n" for name in sorted(dev))
    return {
        "requirements.txt": _HEADER + lines,
        "requirements-aws.txt": _HEADER + "# Beside requirements.txt, for a stack that makes resources in AWS.\n" + aws,
        "requirements-dev.txt": _HEADER
        + "-r requirements.txt\n-r requirements-aws.txt\n-r images/probe/requirements.txt\n"
        + dev_lines,
    }


def project_file(text: str, pins: Pins) -> str:
    """Return the text of Pulumi.yaml with the oldest engine that may run the program: the pinned one.

    The engine itself reads that line, so plain `pulumi` refuses too what set-up would not install.

    Raises: ToolchainError if there is no such line.
    """
    new, found = _REQUIRED_PULUMI.subn(rf'\g<1>">={pins.version("pulumi")}"', text)
    if found != 1:
        raise ToolchainError('Pulumi.yaml has no line `requiredPulumiVersion: ">=<version>"`; give it one.')
    return new


def disagreements(root: Path = ROOT) -> list[str]:
    """Return one line for every derived file that does not say what `versions.toml` says; empty when all agree."""
    pins = Pins.read(root)
    problems = []
    for name, text in requirements(pins).items():
        path = root / name
        if not path.exists():
            problems.append(f"{name} is missing; run `make pin` to write it")
        elif path.read_text(encoding="utf-8") != text:
            problems.append(f"{name} does not agree with toolchain/versions.toml; run `make pin` to rewrite it")
    try:
        problems += [
            f"{name} does not require the pulumi that toolchain/versions.toml pins; run `make pin` to rewrite it"
            for name, text in _project_files(root, pins).items()
            if (root / name).read_text(encoding="utf-8") != text
        ]
    except ToolchainError as error:
        problems.append(str(error))
    go_mod = root / "toolchain" / "go" / "go.mod"
    if go_mod.exists():
        required = dict(
            re.findall(r"^\s*(?:require\s+)?(\S+)\s+(v\S+)", go_mod.read_text(encoding="utf-8"), re.MULTILINE)
        )
        pulumi = pins.version("pulumi")
        problems += [
            f"toolchain/go/go.mod has {module} {required[module]}, versions.toml has pulumi {pulumi};"
            f" run `make pin PART=pulumi VERSION={pulumi}`"
            for module in _GO_MODULES
            if required.get(module, f"v{pulumi}") != f"v{pulumi}"
        ]
    pinned = _probe(root)
    ours = {**pins.sdks(), **pins.data["python"]["runtime"], **pins.data["python"]["dev"]}
    problems += [
        f"{name} is {version} in versions.toml and {pinned[_canonical(name)]} in images/probe/requirements.txt"
        for name, version in ours.items()
        if pinned.get(_canonical(name), version) != version
    ]
    for name, image in pins.data["images"].items():
        if image["tag"] in ("", "latest"):
            problems.append(f"images.{name} has tag {image['tag']!r}; pin an exact one")
    return problems


def _project_files(root: Path, pins: Pins) -> dict[str, str]:
    """Return the text Pulumi.yaml should have: path → text; nothing where there is none."""
    path = root / "Pulumi.yaml"
    return {path.name: project_file(path.read_text(encoding="utf-8"), pins)} if path.exists() else {}


def _probe(root: Path) -> dict[str, str]:
    """Return what the probe's own file pins: name → version."""
    path = root / "images" / "probe" / "requirements.txt"
    if not path.exists():
        return {}
    return {_canonical(name): version for name, version in _requirement_lines(path.read_text(encoding="utf-8"))}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _requirement_lines(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==(\S+)", text, re.MULTILINE)


# --- Moving a pin ---------------------------------------------------------------------------------------------------


def moved(pins: Pins, part: str, version: str) -> str:
    """Return the text of `versions.toml` with `part` at `version`; comments and order stay as they are.

    Sums pinned for the old version are dropped: they belong to other files.
    """
    if part not in pins.names():
        raise ToolchainError(f"No pin named {part!r}. Pinned are: {', '.join(pins.names())}.")
    table, _, name = part.rpartition(".")
    if table == "images" or part == _DEBIAN_IMAGE:
        if not _TAG.match(version) or version.partition("@")[0] == "latest":
            raise ToolchainError(f"{version!r} is not an exact image tag; give <tag> or <tag>@sha256:<64 hex digits>.")
        if part == _DEBIAN_IMAGE:
            return _replace_value(pins.text, table, name, f"debian:{version}")
        tag, _, digest = version.partition("@")
        text = _replace_value(pins.text, part, "tag", tag)
        return _replace_value(text, part, "digest", digest)
    version = version.removeprefix("v")
    if not _VERSION.match(version):
        raise ToolchainError(f"{version!r} is not an exact version; give one such as 1.2.3.")
    if table == "recipes":
        return _replace_value(pins.text, table, name, version)
    if part in PROGRAMS:
        text = _replace_value(pins.text, part, "version", version)
    elif part in PLUGINS:
        text = _replace_value(pins.text, f"plugins.{part}", "version", version)
    else:
        table = "python.runtime" if part in pins.data["python"]["runtime"] else "python.dev"
        return _replace_value(pins.text, table, part, version)
    return _without_sums(text, part)


def _replace_value(text: str, table: str, key: str, value: str) -> str:
    lines = text.splitlines(keepends=True)
    inside = False
    for number, line in enumerate(lines):
        if line.startswith("["):
            inside = line.strip() == f"[{table}]"
        elif inside and re.match(rf"{re.escape(key)}\s*=", line):
            lines[number] = re.sub(r'"[^"]*"', json.dumps(value), line, count=1)
            return "".join(lines)
    raise ToolchainError(f"toolchain/versions.toml has no key {key!r} in [{table}].")


def _without_sums(text: str, part: str) -> str:
    """Drop the sums of `part`, whether they stand in a table of their own or on a line of [sha256]."""
    kept = []
    table = ""
    for line in text.splitlines(keepends=True):
        if line.startswith("["):
            table = line.strip()
        entire = table == f"[sha256.{part}]" and not line.startswith(("#", "\n"))
        if not entire and not (table == "[sha256]" and re.match(rf'"?{re.escape(part)}"?\s*[.=]', line)):
            kept.append(line)
    return "".join(kept)


def resolved(text: str, probe: Mapping[str, str]) -> str:
    """Return `text` with the transitive Python packages that its direct ones need, as the package index resolves them.

    What is pinned stays where it is as long as that is possible. `probe` is what the probe's own file pins: tests run
    beside it, so they take those versions, and none of them is pinned here again.
    """
    pins = Pins(text)
    for kind, direct in (
        ("runtime", {**pins.sdks(), **{name: pins.data["python"]["runtime"][name] for name in _DIRECT_RUNTIME}}),
        ("dev", {**pins.sdks(), **{name: pins.data["python"]["dev"][name] for name in _DIRECT_DEV}}),
    ):
        wanted = [f"{name}=={version}" for name, version in direct.items()]
        current = dict(pins.data["python"]["runtime"])
        table = pins.data["python"][kind]
        outside = {*map(_canonical, pins.sdks())}
        if kind == "dev":
            outside |= {_canonical(name) for name in (*current, *probe)}
            current |= table
            wanted += [f"{name}=={version}" for name, version in probe.items()]
        found = _resolve(wanted, current)
        new = {name: version for name, version in found.items() if name not in outside}
        text = _replace_table(text, f"python.{kind}", new, {_canonical(name): name for name in table})
        pins = Pins(text)
    return text


def _resolve(wanted: list[str], current: Mapping[str, str]) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as environment:
        # Debian's own Python comes without pip; an environment it makes does not.
        system.run([sys.executable, "-m", "venv", environment])
        command = [
            *(f"{environment}/bin/python", "-m", "pip", "install", "--disable-pip-version-check"),
            *("--dry-run", "--ignore-installed", "--quiet", "--report", "-"),
        ]
        attempts = (
            [*command, *wanted, *(f"{name}=={version}" for name, version in current.items())],
            [*command, *wanted],
        )
        for attempt in attempts:
            done = subprocess.run(attempt, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                report = json.loads(done.stdout)
                items = [item["metadata"] for item in report["install"]]
                return {_canonical(item["name"]): str(item["version"]) for item in items}
    raise ToolchainError(
        "The package index could not resolve the new set of Python packages; nothing was changed.\n"
        + done.stderr.strip()
    )


def _replace_table(text: str, table: str, values: Mapping[str, str], spelling: Mapping[str, str]) -> str:
    lines = text.splitlines(keepends=True)
    start = next(number for number, line in enumerate(lines) if line.strip() == f"[{table}]") + 1
    end = start
    while end < len(lines) and re.match(r"[A-Za-z0-9_.-]+\s*=", lines[end]):
        end += 1
    body = [f"{spelling.get(name, name)} = {json.dumps(values[name])}\n" for name in sorted(values)]
    return "".join([*lines[:start], *body, *lines[end:]])


def pin(part: str | None, version: str | None, *, root: Path = ROOT) -> str:
    """Move `part` to `version`, rewrite everything derived from the pinned set, and return the difference.

    Without `part` only the derived files are rewritten. Nothing is written when any step fails.
    """
    pins = Pins.read(root)
    text = pins.text
    go_changed = False
    if part is not None:
        if version is None:
            raise ToolchainError("Give the version to move to: make pin PART=<part> VERSION=<version>.")
        text = moved(pins, part, version)
        if part in ("pulumi", *PLUGINS, *_DIRECT_RUNTIME, *_DIRECT_DEV):
            text = resolved(text, _probe(root))
        go_changed = part == "pulumi" and (root / "toolchain" / "go" / "go.mod").exists()
    new = {"toolchain/versions.toml": text, **requirements(Pins(text)), **_project_files(root, Pins(text))}
    old = {name: (root / name).read_text(encoding="utf-8") if (root / name).exists() else "" for name in new}
    if go_changed:
        old.update(_go_files(root))
        _move_go(root, Pins(text).version("pulumi"))
        new.update(_go_files(root))
    for name, content in new.items():
        if content != old.get(name):
            (root / name).write_text(content, encoding="utf-8")
    return "".join(
        line if line.endswith("\n") else line + "\n"
        for name in new
        for line in difflib.unified_diff(
            old.get(name, "").splitlines(keepends=True), new[name].splitlines(keepends=True), f"a/{name}", f"b/{name}"
        )
    )


def _go_files(root: Path) -> dict[str, str]:
    folder = root / "toolchain" / "go"
    names = ("go.mod", "go.sum", "go.work", "go.work.sum")
    return {f"toolchain/go/{n}": (folder / n).read_text(encoding="utf-8") for n in names if (folder / n).exists()}


def _move_go(root: Path, version: str) -> None:
    before = _go_files(root)
    wanted = [f"{module}@v{version}" for module in _GO_MODULES]
    for command in (["go", "get", *wanted], ["go", "mod", "tidy"]):
        done = subprocess.run(command, cwd=root / "toolchain" / "go", capture_output=True, text=True, check=False)
        if done.returncode != 0:
            for name, content in before.items():
                (root / name).write_text(content, encoding="utf-8")
            raise ToolchainError(f"`{' '.join(command)}` failed; nothing was changed.\n{done.stderr.strip()}")
