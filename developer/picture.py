"""The program as a picture: its graph, taken from a run under the recording engine of the tests."""

import json
import runpy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import pulumi
import yaml

from settings import PROJECT
from testing.engine import Registered, engines
from toolchain import ROOT

# The picture's shape is that of `make up`. Where its images come from says nothing about it, and the build contexts of
# that stack may not be staged where the documentation is checked. Its limits, which would not do for upstream's images,
# say nothing about it either.
_SHAPE: Final = "dev"
_SHAPE_SETTINGS: Final[dict[str, Any]] = {
    f"{PROJECT}:images": {"mode": "upstream", "references": {"transcription": "transcription:1.0.0"}},
    f"{PROJECT}:application": {},
    f"{PROJECT}:data": {},
}

_CONTAINER: Final = "docker:index/container:Container"
_VOLUME: Final = "docker:index/volume:Volume"
_GROUND: Final = frozenset({"reflector:host:Host", "reflector:image:Images", "reflector:rollover:Rollover"})
"""What every container stands on, and the records that wait for all of them: drawn, they are tied to everything."""


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
    concerns = {key: value for key, value in file["config"].items() if key.startswith(f"{PROJECT}:")}
    values = {key: json.dumps(value) for key, value in (concerns | _SHAPE_SETTINGS).items()}
    pulumi.runtime.set_all_config(values, [])
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
    between: set[tuple[str, str]] = set()
    # Those that begin at one of several containers, where a longer way may say the same.
    single: set[tuple[str, str]] = set()
    for user in resources:
        for urn in user.request.dependencies:
            needed = by_urn[urn]
            owner, other = component(needed), component(user)
            several = count[owner.name] > 1 and urn in containers
            if owner is other:
                if several and user.urn in containers:
                    single.add((containers[urn].service, containers[user.urn].service))
            elif owner in shown and other in shown:
                if several:
                    single.add((containers[urn].service, other.name))
                else:
                    between.add((owner.name, other.name))
    return Graph(
        components=tuple(resource.name for resource in shown),
        containers=tuple(sorted(containers.values(), key=lambda container: container.service)),
        edges=_reduced(single) | between,
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


def drawn() -> str:
    """Return the Mermaid picture of the graph."""
    made = graph()
    lines = ["flowchart LR"]

    def box(container: Container, title: str) -> str:
        second = ", ".join(container.published) if container.published else " + ".join(container.networks)
        style = ":::published" if container.published else ":::internal" if container.internal else ""
        return f'{_identifier(title)}["{title}<br/>{second}"]{style}'

    for name in made.components:
        inside = [container for container in made.containers if container.component == name]
        if not inside:
            lines.append(f'    {_identifier(name)}(["{name}"])')
        elif len(inside) == 1:
            lines.append(f"    {box(inside[0], name)}")
        else:
            lines.append(f'    subgraph {_identifier(name)}["{name}"]')
            lines += [f"        {box(container, container.service)}" for container in inside]
            lines.append("    end")
    order = {name: index for index, name in enumerate(made.components)}
    lines += [
        f"    {_identifier(needed)} --> {_identifier(user)}"
        for needed, user in sorted(made.edges, key=lambda edge: (order.get(edge[0], len(order)), edge))
    ]
    lines += [
        "    classDef published stroke-width:3px",
        "    classDef internal stroke-dasharray:4",
    ]
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


CONTAINER_HEADS: Final = ("Container", "Networks", "Volumes", "Published")


def container_rows() -> list[tuple[str, ...]]:
    """Return what runs, for a table under CONTAINER_HEADS."""
    return [
        (
            f"`{container.service}`",
            ", ".join(container.networks) + (" (no route out)" if container.internal else ""),
            "<br>".join(container.volumes),
            ", ".join(container.published),
        )
        for container in graph().containers
    ]
