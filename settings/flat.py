"""Settings as they were before they became a tree: where each went, and a stack file taken from there to here."""

import copy
import json
from collections.abc import Mapping
from typing import Any, Final

import yaml

from settings.problems import Problem
from settings.stack_file import PROJECT
from settings.storage import DEFAULT_BUCKET
from settings.tree import Settings
from settings.walk import member_for

MOVED: Final[Mapping[str, str]] = {
    "docker_host": "hosts.main.address",
    "docker_certificates": "hosts.main.certificates",
    "minimum_free_disk_gib": "hosts.main.minimum_free_disk_gib",
    "images": "images.mode",
    "image_references": "images.references",
    "domain": "edge.domain",
    "extra_names": "edge.extra_names",
    "bind_addresses": "edge.bind_addresses",
    "https_port": "edge.https_port",
    "http_port": "edge.http_port",
    "authentication": "sign_in.mode",
    "admin_email": "sign_in.admin_email",
    "transcription": "speech.mode",
    "transcription_url": "speech.url",
    "transcription_api_key": "speech.api_key",
    "transcription_gpus": "speech.gpus",
    "whisper_model": "speech.whisper_model",
    "hf_token": "speech.hf_token",
    "llm": "language_model.mode",
    "llm_model": "language_model.model",
    "llm_url": "language_model.url",
    "llm_api_key": "language_model.api_key",
    "llm_context_tokens": "language_model.context_tokens",
    "ollama_gpus": "language_model.gpus",
    "storage": "storage.mode",
    "s3_domain": "storage.domain",
    "storage_bucket": "storage.bucket",
    "garage_capacity_gib": "storage.capacity_gib",
    "s3_region": "storage.region",
    "s3_endpoint": "storage.endpoint",
    "s3_access_key_id": "storage.access_key_id",
    "s3_secret_access_key": "storage.secret_access_key",
    "health_interval_seconds": "health.interval_seconds",
    "startup_limit_seconds": "health.startup_limit_seconds",
    "memory_mib": "memory_mib of each service, such as application.server.memory_mib",
}
"""Key of an earlier release → where it is now."""

GONE: Final[Mapping[tuple[str, str], tuple[str, str]]] = {
    ("language_model.mode", "none"): (
        "ollama or external, as without a model Reflector sends every transcript to api.openai.com and then fails it",
        "Set it, and a model that calls tools, such as a small one: pulumi config set --path language_model.mode ollama"
        " && pulumi config set --path language_model.model qwen2.5:3b",
    ),
}
"""Setting and value that an earlier release took → what is allowed now, and what to do."""

_MODES: Final = {
    "images": "upstream",
    "sign_in": "password",
    "speech": "in-process",
    "language_model": "ollama",
    "storage": "garage",
}
"""Concern → the mode that was meant where none was set."""
_MEMORY: Final[Mapping[str, tuple[str, str]]] = {
    # Service → where its limit is now, and the mode it is there in.
    "postgres": ("data.postgres", ""),
    "redis": ("data.redis", ""),
    "garage": ("storage", "garage"),
    "hatchet": ("workflow", ""),
    "server": ("application.server", ""),
    "worker": ("application.worker", ""),
    "beat": ("application.beat", ""),
    "hatchet-worker-llm": ("application.hatchet_worker_llm", ""),
    "web": ("application.web", ""),
    "transcription": ("speech", "container"),
    "ollama": ("language_model", "ollama"),
    "caddy": ("edge", ""),
}
_SCHEMA: Final = "# yaml-language-server: $schema=stack.schema.json"
_NUMBERS: Final = ("_port", "_gib", "_seconds", "_mib", "_tokens")
_EARLIER_MODEL: Final = "qwen2.5:14b"
"""The model's name where none was set, for an endpoint elsewhere too."""


def is_moved(name: str, value: object) -> bool:
    """Return whether a key of the top is an earlier release's; two of its names are those of concerns today."""
    return name in MOVED and (name not in Settings.model_fields or isinstance(value, str))


def is_flat(config: Mapping[Any, Any]) -> bool:
    """Return whether the `config` of a stack file has settings of an earlier release."""
    return any(is_moved(name, value) for name, value in _own(config).items())


def converted(config: Mapping[Any, Any]) -> tuple[dict[Any, Any], list[str]]:
    """Return the `config` of a stack file in today's form, and what of it had no effect and is left out.

    Ciphertexts move as they are. What is in today's form already stays, and is stronger.
    """
    own = _own(config)
    old = {name: value for name, value in own.items() if is_moved(name, value)}
    tree: dict[str, Any] = {name: copy.deepcopy(value) for name, value in own.items() if name not in old}
    left: list[str] = []
    for name, value in old.items():
        # Empty was what was not set.
        if name != "memory_mib" and value != "" and not _put(tree, MOVED[name], _typed(MOVED[name], value)):
            left.append(name)
    if _group(tree, "sign_in").get("mode") == "none":
        tree["sign_in"]["mode"] = "public"
    for concern, mode in _MODES.items():
        group = _group(tree, concern)
        if group and "mode" not in group:
            tree[concern] = {"mode": mode, **group}
    if _group(tree, "language_model").get("mode") == "external":
        tree["language_model"].setdefault("model", _EARLIER_MODEL)
    if _group(tree, "storage").get("mode") == "s3" and "storage" in old:
        tree["storage"].setdefault("bucket", DEFAULT_BUCKET)
    limits = _decoded(old.get("memory_mib"))
    for service, value in limits.items() if isinstance(limits, dict) else ():
        place, mode = _MEMORY.get(service, ("", ""))
        concern = place.partition(".")[0]
        meant = _group(tree, concern).get("mode", _MODES.get(concern, ""))
        if mode and not _group(tree, concern) and meant == mode:
            tree[concern] = {"mode": mode}
        if not place or mode not in ("", meant) or not _put(tree, f"{place}.memory_mib", _typed("_mib", value)):
            left.append(f"memory_mib.{service}")
    left += _without_effect(tree)
    kept = {key: value for key, value in config.items() if str(key).removeprefix(f"{PROJECT}:") not in own}
    return {**kept, **{f"{PROJECT}:{name}": value for name, value in tree.items()}}, left


def gone(setting: str, value: object) -> Problem | None:
    """Return what is wrong with a value that an earlier release took; None if none did."""
    found = GONE.get((setting, value)) if isinstance(value, str) else None
    return found and Problem(setting=setting, given=repr(value), allowed=found[0], remedy=found[1])


def unconverted(config: Mapping[Any, Any]) -> list[Problem]:
    """Return what of a `config` in today's form had a meaning before and has none today."""
    own = _own(config)
    problems = [
        gone(setting, _group(own, concern).get(name))
        for setting, _ in GONE
        for concern, _, name in [setting.partition(".")]
    ]
    return [problem for problem in problems if problem is not None]


def _own(config: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the project's own settings: to the engine also those without a namespace."""
    return {
        str(key).removeprefix(f"{PROJECT}:"): value
        for key, value in config.items()
        if ":" not in str(key) or str(key).startswith(f"{PROJECT}:")
    }


def _without_effect(tree: dict[str, Any]) -> list[str]:
    """Take out what belongs to another mode than the one that is set: it was suffered where it said the default."""
    left: list[str] = []
    for concern in _MODES:
        group = _group(tree, concern)
        model = member_for(Settings.model_fields[concern].annotation, group)
        for name in [name for name in group if model is not None and name not in model.model_fields]:
            del group[name]
            left.append(f"{concern}.{name}")
    return left


def _group(tree: Mapping[str, Any], concern: str) -> dict[str, Any]:
    found = tree.get(concern)
    return found if isinstance(found, dict) else {}


def _put(tree: dict[str, Any], path: str, value: Any) -> bool:
    """Put `value` in the tree; return whether its place was free."""
    *groups, name = path.split(".")
    for group in groups:
        tree = tree.setdefault(group, {})
        if not isinstance(tree, dict):
            return False
    return tree.setdefault(name, value) is value


def _typed(path: str, value: Any) -> Any:
    # At the top every number was a text, and lists and objects could be one.
    if isinstance(value, str) and path.endswith(_NUMBERS) and value.isascii() and value.removeprefix("-").isdigit():
        return int(value)
    return _decoded(value)


def _decoded(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def stack_file(text: str) -> tuple[str, list[str], list[Problem]]:
    """Return the text of a stack file in today's form, what is left out, and what has to be decided anew.

    Comments at its top stay; others go.
    """
    content = yaml.safe_load(text) or {}
    config, left = converted(content.get("config") or {})
    head = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if line != _SCHEMA:
            head.append(line)
    body = yaml.safe_dump({**content, "config": config}, sort_keys=False, allow_unicode=True, width=1000)
    return "\n".join([_SCHEMA, *head]) + "\n" + body, left, unconverted(config)
