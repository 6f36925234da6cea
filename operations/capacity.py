"""Whether a Docker host can do what the settings ask of it: limit memory, publish ports, hold the models."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from operations.healing import Resource
from settings import Problem, Settings
from settings.base import dotted
from settings.language_model import Ollama
from settings.walk import active

_FIRST_OPEN_PORT: Final = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_PARAMETERS: Final = re.compile(r"(?:(\d+)x)?(\d+(?:\.\d+)?)b(?![a-z])", re.IGNORECASE)
"""Number of a model's parameters in its name, in thousands of millions: `14b`, `8x7b`."""
_GIB_PER_BILLION: Final = 0.6
"""Of the usual quantization to some 4.8 bits; others take more."""


def problems(settings: Settings, info: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what the host, `docker info` tells, cannot do."""
    yield from _memory_limit_problems(settings, info)
    yield from _port_problems(settings, info)


def hints(
    settings: Settings, info: Mapping[str, Any], *, free_gib: float | None, resources: Iterable[Resource]
) -> Iterator[str]:
    """Yield what could become too much for it. `resources` are those of the state."""
    yield from _memory_hints(settings, info)
    yield from _model_hints(settings, free_gib, resources)


def _memory_limit_problems(settings: Settings, info: Mapping[str, Any]) -> Iterator[Problem]:
    # The daemon drops a limit its kernel cannot keep and reports another: every container would differ, at each run.
    if not info.get("MemoryLimit", True):
        able = "none"
    elif not info.get("SwapLimit", True):
        able = "memory"
    else:
        return
    asked = settings.host.memory_limits
    if asked not in {able, "none"}:
        what = "swap" if able == "memory" else "memory"
        yield Problem(
            setting="hosts.main.memory_limits",
            given=f"{asked!r}, while the kernel of {settings.host.address} does not limit {what}",
            allowed=f"{able}, or a kernel that can (swapaccount=1 or cgroup_enable=memory on its command line)",
            remedy=f"Set it: pulumi config set --path hosts.main.memory_limits {able}",
        )


def _port_problems(settings: Settings, info: Mapping[str, Any]) -> Iterator[Problem]:
    if not any("name=rootless" in option for option in info.get("SecurityOptions") or ()):
        return
    first_open = 1024
    if settings.host.is_local and _FIRST_OPEN_PORT.exists():
        first_open = int(_FIRST_OPEN_PORT.read_text(encoding="ascii"))
    for setting, port in {dotted(one.setting): one.port for one in settings.published}.items():
        if port < first_open:
            yield Problem(
                setting=setting,
                given=f"{port}, while {settings.host.address} is a rootless daemon",
                allowed=f"ports from {first_open} on",
                remedy=f"Set another: pulumi config set --path {setting} <port>, or let it publish this one, on the "
                f"host: sysctl net.ipv4.ip_unprivileged_port_start={port}",
            )


def _memory_hints(settings: Settings, info: Mapping[str, Any]) -> Iterator[str]:
    limits = {
        service: limit
        for _, model in active(settings)
        if (limit := getattr(model, "memory_mib", None)) is not None
        for service in model.SERVICES
    } | {settings.relay_services[name]: relay.memory_mib for name, relay in settings.relays.items()}
    there = int(info.get("MemTotal", 0)) // 1024**2
    together = sum(limits.values())
    if there and together > there:
        most = sorted(limits, key=lambda service: -limits[service])[:3]
        yield (
            f"The memory limits add up to {together} MiB, and {settings.host.address} has {there} MiB: when services "
            f"use what they may, some are killed. The largest: "
            + ", ".join(f"{service} {limits[service]}" for service in most)
        )


def _model_hints(settings: Settings, free_gib: float | None, resources: Iterable[Resource]) -> Iterator[str]:
    model = settings.language_model
    if free_gib is None or not isinstance(model, Ollama) or model.model in settings.encrypted:
        return
    size = model_gib(model.model)
    if size is None or size <= free_gib:
        return
    for resource in resources:
        if resource["urn"].endswith("::ollama-model") and resource["outputs"]["environment"]["MODEL"] == model.model:
            return  # it is there
    yield f"The model {model.model} takes some {size:.0f} GiB, and {free_gib:.0f} GiB are free on the disk of Docker"


def model_gib(name: str) -> float | None:
    """Return about how much disk a model takes, in GiB; None if its name does not tell how large it is."""
    found = _PARAMETERS.search(name)
    return None if found is None else int(found[1] or 1) * float(found[2]) * _GIB_PER_BILLION
