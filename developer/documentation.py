"""The parts of the documentation that are made from the code: `python -m developer.documentation [--check]`.

A page holds each such part between two comments, `<!-- generated: name -->` and `<!-- /generated -->`; everything
around them is written by hand. The settings come from the schema in Pulumi.yaml and from the tables the checks use;
the picture comes from the program itself, run under the recording engine of the tests.
"""

import argparse
import difflib
import json
import re
import runpy
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import pulumi
import yaml

from settings.load import MEMORY_MIB, ONLY_WITH
from settings.schema import ROOT, Key, schema
from tests.unit.engine import Registered, engines

MOST_USED: Final[Mapping[str, str]] = {
    # Key → an example of a value. Together they make one valid stack, which a test proves.
    "domain": "reflector.example.com",
    "extra_names": "IP:192.0.2.10",
    "bind_addresses": "192.0.2.10",
    "https_port": "8443",
    "docker_host": "ssh://deploy@reflector.example.com",
    "admin_email": "me@example.com",
    "transcription": "hosted",
    "transcription_url": "https://speech.example.com",
    "transcription_api_key": "",
    "llm": "external",
    "llm_url": "https://llm.example.com/v1",
    "llm_api_key": "",
    "llm_model": "llama-3.3-70b",
    "storage": "external",
    "s3_endpoint": "https://s3.example.com",
    "s3_region": "eu-central-1",
    "s3_access_key_id": "AKIAEXAMPLE",
    "s3_secret_access_key": "",
}

# The picture's shape is that of `make up`. Where its images come from says nothing about it, and the build contexts of
# that stack may not be staged where the documentation is checked.
_SHAPE: Final = "dev"
_SHAPE_IMAGES: Final[dict[str, Any]] = {
    "reflector:images": "upstream",
    "reflector:image_references": {"transcription": "transcription:1.0.0"},
}

_CONTAINER: Final = "docker:index/container:Container"
_VOLUME: Final = "docker:index/volume:Volume"
_GROUND: Final = frozenset({"reflector:host:Host", "reflector:image:Images"})
"""What every container stands on: drawn, they would be tied to everything."""

_MARKED: Final = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)
_HEADING: Final = re.compile(r"  # --- (?P<heading>[^-]+?) -+")
_KEY: Final = re.compile(r"  (?P<key>[a-z]\w*):")


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<")


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def _default(key: Key) -> str:
    if key.default in ("", [], {}):
        return "empty"
    return f"`{key.default if isinstance(key.default, str) else json.dumps(key.default)}`"


def _modes(key: Key) -> str:
    selector, values = ONLY_WITH.get(key.name, ("", frozenset[str]()))
    if selector and not values:
        return f"a tcp:// `{selector}`"
    return " or ".join(f"`{selector}: {value}`" for value in sorted(values))


def command(key: Key, example: str) -> str:
    """Return the command that sets `key`; a secret is asked for, so that it is in no history."""
    if key.secret:
        return f"pulumi config set --secret {key.name}"
    if key.type == "array":
        return f"pulumi config set --path '{key.name}[0]' {example}"
    return f"pulumi config set {key.name} {example}"


def settings_in_short() -> str:
    """Return the table of the most used settings."""
    keys = schema().keys
    return _table(
        ("Command", "What it sets", "Default"),
        (
            (f"`{command(keys[name], example)}`", _escaped(keys[name].description), _default(keys[name]))
            for name, example in MOST_USED.items()
        ),
    )


def _groups() -> dict[str, list[Key]]:
    """Return the keys under the headings Pulumi.yaml gives them: comments, which a YAML parser does not see."""
    groups: dict[str, list[Key]] = {}
    heading = ""
    for line in (ROOT / "Pulumi.yaml").read_text(encoding="utf-8").splitlines():
        if match := _HEADING.fullmatch(line):
            heading = match["heading"]
        elif heading and (match := _KEY.match(line)):
            groups.setdefault(heading, []).append(schema().keys[match["key"]])
    return groups


def settings_in_full() -> str:
    """Return one table of settings for each group of Pulumi.yaml."""
    return "\n".join(
        f"### {heading}\n\n"
        + _table(
            ("Key", "Type", "Default", "Only with", "What it is"),
            (
                (
                    f"`{key.name}`",
                    f"{key.type}, secret" if key.secret else key.type,
                    _default(key),
                    _modes(key),
                    _escaped(key.description),
                )
                for key in keys
            ),
        )
        for heading, keys in _groups().items()
    )


def memory_limits() -> str:
    """Return the table of default memory limits."""
    return _table(("Service", "Limit in MiB"), ((f"`{name}`", str(limit)) for name, limit in MEMORY_MIB.items()))


@dataclass(frozen=True, kw_only=True)
class Container:
    """A container, as the picture and the table show it."""

    service: str
    component: str
    networks: tuple[str, ...]
    internal: bool
    """Whether it has no route out."""
    published: tuple[str, ...]
    volumes: tuple[str, ...]
    """`role at path`, in the order of the paths."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """What the program makes, reduced to components and their containers."""

    components: tuple[str, ...]
    """In the program's order, without those everything stands on."""
    containers: tuple[Container, ...]
    edges: frozenset[tuple[str, str]]
    """(what is needed, who needs it): components, and the containers of a component that has several."""


def _recorded() -> list[Registered]:
    file = yaml.safe_load((ROOT / f"Pulumi.{_SHAPE}.yaml").read_text(encoding="utf-8"))
    values = {key: value for key, value in file["config"].items() if key.startswith("reflector:")} | _SHAPE_IMAGES
    pulumi.runtime.set_all_config(
        {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}, []
    )
    resources: list[Registered] = []
    for engine in engines():
        engine.run(lambda: runpy.run_path(str(ROOT / "__main__.py")))
        resources = engine.resources
    return resources


@cache
def graph() -> Graph:
    """Return the program's graph in the shape of `make up`."""
    resources = _recorded()
    by_urn = {resource.urn: resource for resource in resources}

    def component(resource: Registered) -> Registered:
        return component(by_urn[resource.parent]) if resource.parent in by_urn else resource

    volumes = {resource.plain("name"): resource.name for resource in resources if resource.type == _VOLUME}
    internal = {
        resource.plain("name") for resource in resources if "internal" in resource.inputs and resource.plain("internal")
    }
    containers = {
        resource.urn: _container(resource, component(resource).name, volumes, internal)
        for resource in resources
        if resource.type == _CONTAINER
    }
    shown = [
        resource
        for resource in resources
        if resource.type.startswith("reflector:") and component(resource) is resource and resource.type not in _GROUND
    ]
    count = Counter(container.component for container in containers.values())
    inside: set[tuple[str, str]] = set()
    between: set[tuple[str, str]] = set()
    for user in resources:
        for urn in user.request.dependencies:
            needed = by_urn[urn]
            owner, other = component(needed), component(user)
            several = count[owner.name] > 1 and urn in containers
            if owner is other:
                if several and user.urn in containers:
                    inside.add((containers[urn].service, containers[user.urn].service))
            elif owner in shown and other in shown:
                between.add((containers[urn].service if several else owner.name, other.name))
    return Graph(
        components=tuple(resource.name for resource in shown),
        containers=tuple(sorted(containers.values(), key=lambda container: container.service)),
        edges=_reduced(inside) | between,
    )


def _container(resource: Registered, component: str, volumes: Mapping[str, str], internal: set[str]) -> Container:
    prefix = resource.plain("name").removesuffix(resource.plain("hostname"))
    names = [network["name"] for network in resource.plain("networksAdvanced")]
    ports = resource.plain("ports") if "ports" in resource.inputs else []
    mounts = resource.plain("volumes") if "volumes" in resource.inputs else []
    return Container(
        service=resource.plain("hostname"),
        component=component,
        networks=tuple(name.removeprefix(prefix) for name in names),
        internal=set(names) <= internal,
        published=tuple(dict.fromkeys(f"{port['external']:g}/{port['protocol']}" for port in ports)),
        volumes=tuple(f"{mount['volumeName'].removeprefix(prefix)} at {mount['containerPath']}" for mount in mounts),
    )


def _reduced(edges: set[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """Return `edges` without those that a longer way between the same two ends says already."""
    users: dict[str, set[str]] = {}
    for needed, user in edges:
        users.setdefault(needed, set()).add(user)

    def reaches(start: str, end: str) -> bool:
        return any(step == end or reaches(step, end) for step in users.get(start, ()))

    return frozenset(
        (needed, user)
        for needed, user in edges
        if not any(reaches(other, user) for other in users[needed] if other != user)
    )


def _identifier(name: str) -> str:
    return name.replace("-", "_")


def picture() -> str:
    """Return the Mermaid picture of the graph."""
    drawn = graph()
    lines = ["flowchart LR"]

    def box(container: Container, title: str) -> str:
        second = ", ".join(container.published) if container.published else " + ".join(container.networks)
        style = ":::published" if container.published else ":::internal" if container.internal else ""
        return f'{_identifier(title)}["{title}<br/>{second}"]{style}'

    for name in drawn.components:
        inside = [container for container in drawn.containers if container.component == name]
        if not inside:
            lines.append(f'    {_identifier(name)}(["{name}"])')
        elif len(inside) == 1:
            lines.append(f"    {box(inside[0], name)}")
        else:
            lines.append(f'    subgraph {_identifier(name)}["{name}"]')
            lines += [f"        {box(container, container.service)}" for container in inside]
            lines.append("    end")
    order = {name: index for index, name in enumerate(drawn.components)}
    lines += [
        f"    {_identifier(needed)} --> {_identifier(user)}"
        for needed, user in sorted(drawn.edges, key=lambda edge: (order.get(edge[0], len(order)), edge))
    ]
    lines += [
        "    classDef published stroke-width:3px",
        "    classDef internal stroke-dasharray:4",
    ]
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


def containers() -> str:
    """Return the table of what runs."""
    return _table(
        ("Container", "Networks", "Volumes", "Published"),
        (
            (
                f"`{container.service}`",
                ", ".join(container.networks) + (" (no route out)" if container.internal else ""),
                "<br>".join(container.volumes),
                ", ".join(container.published),
            )
            for container in graph().containers
        ),
    )


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "picture": picture,
    "settings-in-short": settings_in_short,
    "settings-in-full": settings_in_full,
    "memory-limits": memory_limits,
    "containers": containers,
}
"""What can stand between two comments, by name."""
PAGES: Final = (ROOT / "README.md", ROOT / "docs" / "configuration.md", ROOT / "docs" / "deploy.md")


def renewed(text: str) -> str:
    """Return a page with its generated parts made anew.

    Raises: KeyError naming a part that PARTS does not have.
    """

    def part(match: re.Match[str]) -> str:
        return f"{match[1]}{PARTS[match['name']]()}{match[3]}"

    return _MARKED.sub(part, text)


def main(arguments: list[str]) -> int:
    """Write the generated parts, or with `--check` say what would change; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m developer.documentation", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 if a page is not current")
    check = parser.parse_args(arguments).check
    behind = 0
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        old = page.read_text(encoding="utf-8")
        new = renewed(old)
        if new == old:
            continue
        behind += 1
        if check:
            sys.stdout.writelines(
                difflib.unified_diff(
                    old.splitlines(keepends=True), new.splitlines(keepends=True), f"{name} (as it is)", f"{name} (due)"
                )
            )
        else:
            page.write_text(new, encoding="utf-8")
            print(f"written: {name}")
    if check and behind:
        print(f"{behind} of {len(PAGES)} pages are not current. Run: make docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
