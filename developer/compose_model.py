"""A deployed stack as a compose project: the same containers on the same data, described for another tool.

What Docker tells of a container is taken from there. The engine's state adds what Docker does not tell: which files
were put into it before it started, and whom it waited for.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

LABEL_SERVICE: Final = "org.reflector.service"

_CONTAINER: Final = "docker:index/container:Container"
_PROVIDER: Final = "pulumi:providers:docker"
_SECRET: Final = "4dabf18193072939515e22adb298388d"
"""The key that marks a secret in the engine's state."""

Json = Mapping[str, Any]
Graph = Mapping[str, frozenset[str]]
"""Service → the services it waits for."""


class ComparisonError(RuntimeError):
    """It cannot be measured, or what was measured is not what was meant."""


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """What the engine's state knows of a stack's containers that Docker does not tell; by container name."""

    docker_host: str
    files: Mapping[str, Sequence[Json]] = field(repr=False)
    """Uploads: file, content, permissions."""
    waits_for: Graph


def deployment(state: Json) -> Deployed:
    """Return what a state, exported with its secrets, says of the containers in it.

    A container waits for the nearest ones it depends on, through steps, networks and whatever else is in between.
    """
    resources = {resource["urn"]: resource for resource in state["deployment"]["resources"]}
    names = {
        urn: str(plain(resource["inputs"]["name"]))
        for urn, resource in resources.items()
        if resource["type"] == _CONTAINER
    }

    def nearest(urn: str, seen: set[str]) -> Iterator[str]:
        for dependency in resources[urn].get("dependencies") or ():
            if dependency in names:
                yield names[dependency]
            elif dependency in resources and dependency not in seen:
                seen.add(dependency)
                yield from nearest(dependency, seen)

    hosts = [plain(resource["inputs"]["host"]) for resource in resources.values() if resource["type"] == _PROVIDER]
    return Deployed(
        docker_host=str(hosts[0]) if hosts else "",
        files={name: plain(resources[urn]["inputs"].get("uploads", [])) for urn, name in names.items()},
        waits_for={name: frozenset(nearest(urn, set())) for urn, name in names.items()},
    )


def plain(value: Any) -> Any:
    """Return a value of the state without the wrapping of its secrets."""
    if isinstance(value, Mapping):
        if _SECRET in value:
            return plain(json.loads(value["plaintext"]))
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def by_service(waits_for: Graph, containers: Sequence[Json]) -> Graph:
    """Return a graph of containers as one of services."""
    services = {container["Name"].lstrip("/"): service_of(container) for container in containers}
    return {services[name]: frozenset(services[other] for other in others) for name, others in waits_for.items()}


def compose_model(prefix: str, containers: Sequence[Json], networks: Sequence[Json], deployed: Deployed) -> Json:
    """Return the compose project that is the same as the containers of `prefix`, as `docker inspect` shows them."""
    configs: dict[str, Json] = {}
    services: dict[str, Json] = {}
    volumes: dict[str, Json] = {}
    waits_for = by_service(deployed.waits_for, containers)
    for container in containers:
        service, name = service_of(container), container["Name"].lstrip("/")
        files = [(f"{service}-{number}", file) for number, file in enumerate(deployed.files[name])]
        configs |= {key: {"content": file["content"]} for key, file in files}
        # The very same data, and never compose's to remove.
        volumes |= {mount["Name"]: {"external": True, "name": mount["Name"]} for mount in container["Mounts"]}
        services[service] = {
            **described(container, f"{prefix}-"),
            "configs": [
                {"source": key, "target": file["file"], "mode": int(file.get("permissions") or "0644", 8)}
                for key, file in files
            ],
            "depends_on": {other: {"condition": "service_healthy"} for other in sorted(waits_for[service])},
        }
    model: Json = _escaped(
        {
            "services": services,
            "configs": configs,
            "volumes": volumes,
            "networks": {
                network["Name"].removeprefix(f"{prefix}-"): {
                    "driver": network["Driver"],
                    "internal": network["Internal"],
                }
                for network in networks
            },
        }
    )
    return model


def described(container: Json, prefix: str) -> dict[str, Any]:
    """Return what `docker inspect` shows of a container in the terms of a compose service.

    `prefix` is what the names of its networks start with.

    Raises: ComparisonError if it has something that is not known here.
    """
    config, host = container["Config"], container["HostConfig"]
    if host.get("DeviceRequests") or any(mount["Type"] != "volume" for mount in container["Mounts"]):
        raise ComparisonError(f"{container['Name']} has devices or mounts that compose would have to be told of here")
    health = config["Healthcheck"]
    service = {
        # The id: no registry is asked, and it is this image whatever its tag names by now.
        "image": container["Image"],
        "pull_policy": "never",
        "hostname": config["Hostname"],
        "entrypoint": config["Entrypoint"],
        "command": config["Cmd"],
        "user": config["User"],
        "environment": config["Env"],
        "mem_limit": host["Memory"],
        "memswap_limit": host["MemorySwap"],
        "read_only": host["ReadonlyRootfs"],
        "cap_add": host["CapAdd"],
        "cap_drop": host["CapDrop"],
        "security_opt": host["SecurityOpt"],
        "tmpfs": [f"{path}:{options}" for path, options in (host.get("Tmpfs") or {}).items()],
        "logging": {"driver": host["LogConfig"]["Type"], "options": host["LogConfig"]["Config"]},
        "restart": host["RestartPolicy"]["Name"],
        "stop_signal": config.get("StopSignal"),
        "stop_grace_period": f"{config['StopTimeout']}s",
        "healthcheck": {
            "test": health["Test"],
            "interval": _duration(health["Interval"]),
            "timeout": _duration(health["Timeout"]),
            "start_period": _duration(health["StartPeriod"]),
            "retries": health["Retries"],
        },
        "volumes": [
            {"type": "volume", "source": mount["Name"], "target": mount["Destination"], "read_only": not mount["RW"]}
            for mount in container["Mounts"]
        ],
        "networks": {
            name.removeprefix(prefix): {
                # Docker adds the container's id and its name.
                "aliases": sorted(
                    alias
                    for alias in set(network["Aliases"] or ())
                    if not container["Id"].startswith(alias) and alias != container["Name"].lstrip("/")
                )
            }
            for name, network in container["NetworkSettings"]["Networks"].items()
        },
        "ports": [
            {
                "target": int(port.partition("/")[0]),
                "protocol": port.partition("/")[2],
                "host_ip": binding["HostIp"],
                "published": binding["HostPort"],
            }
            for port, bindings in (host["PortBindings"] or {}).items()
            for binding in bindings
        ],
    }
    return {key: value for key, value in service.items() if value not in (None, "", [], {})}


def differences(container: Json, prefix: str, other: Json, other_prefix: str) -> list[str]:
    """Return what is not the same of two containers, one made by us and one by compose."""
    one, another = described(container, prefix), described(other, other_prefix)
    return sorted(key for key in one.keys() | another.keys() if _in_order(one.get(key)) != _in_order(another.get(key)))


def _in_order(value: Any) -> Any:
    return sorted(value, key=json.dumps) if isinstance(value, list) else value


def service_of(container: Json) -> str:
    """Return the service a container of ours is."""
    return str(container["Config"]["Labels"][LABEL_SERVICE])


def _duration(nanoseconds: int) -> str:
    return f"{nanoseconds // 1_000_000}ms"


def _escaped(value: Any) -> Any:
    """Return `value` with each dollar sign doubled, which compose would take for the start of a variable."""
    if isinstance(value, Mapping):
        return {key: _escaped(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_escaped(inner) for inner in value]
    return value.replace("$", "$$") if isinstance(value, str) else value
