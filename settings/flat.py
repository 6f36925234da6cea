"""Settings as they were before they became a tree, flat: where each of them went, and a stack file taken from there to here."""

from collections.abc import Mapping
from typing import Any, Final

import yaml

from settings.stack_file import PROJECT

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
_NUMBERS: Final = ("_port", "_gib", "_seconds", "_mib", "_tokens")
_EARLIER_MODEL: Final = "qwen2.5:14b"
"""The model's name where none was set, for an endpoint elsewhere too."""


def is_flat(config: Mapping[Any, Any]) -> bool:
    """Return whether the `config` of a stack file has settings of an earlier release."""
    for key, value in config.items():
        name = str(key).removeprefix(f"{PROJECT}:")
        if name != key and name in MOVED and not (name in _MODES and isinstance(value, dict)):
            return True
    return False


def converted(config: Mapping[Any, Any]) -> tuple[dict[Any, Any], list[str]]:
    """Return the `config` of a stack file in today's form, and what of it had no effect and is left out.

    Ciphertexts move as they are.
    """
    flat = {
        str(key).removeprefix(f"{PROJECT}:"): value
        for key, value in config.items()
        if str(key).startswith(f"{PROJECT}:")
    }
    kept = {key: value for key, value in config.items() if not str(key).startswith(f"{PROJECT}:")}
    tree: dict[str, Any] = {name: value for name, value in flat.items() if name not in MOVED}
    left: list[str] = []
    for name, value in flat.items():
        if name in MOVED and name != "memory_mib" and value != "":
            _put(tree, MOVED[name], _typed(MOVED[name], value))
    if tree.get("sign_in", {}).get("mode") == "none":
        tree["sign_in"] = {"mode": "public"}
    for service, value in (flat.get("memory_mib") or {}).items():
        place, mode = _MEMORY.get(service, ("", ""))
        concern = place.partition(".")[0]
        if not place or (mode and tree.get(concern, {}).get("mode", _MODES[concern]) != mode):
            left.append(f"memory_mib.{service}")
            continue
        _put(tree, f"{place}.memory_mib", int(value))
    for concern, mode in _MODES.items():
        if concern in tree:
            tree[concern] = {"mode": mode, **tree[concern]}
    model = tree.get("language_model", {})
    if model.get("mode") == "none":
        left += [f"language_model.{name}" for name in model if name != "mode"]
        tree["language_model"] = {"mode": "none"}
    if model.get("mode") == "external":
        model.setdefault("model", _EARLIER_MODEL)
    return {**kept, **{f"{PROJECT}:{name}": value for name, value in tree.items()}}, left


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    *groups, name = path.split(".")
    for group in groups:
        tree = tree.setdefault(group, {})
    tree[name] = value


def _typed(path: str, value: Any) -> Any:
    # At the top every number was a text.
    return int(value) if isinstance(value, str) and path.endswith(_NUMBERS) and value.isdigit() else value


def stack_file(text: str) -> tuple[str, list[str]]:
    """Return the text of a stack file in today's form, and what is left out.

    Comments at its top stay; others go.
    """
    content = yaml.safe_load(text) or {}
    config, left = converted(content.get("config") or {})
    head = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        head.append(line)
    schema = "# yaml-language-server: $schema=stack.schema.json"
    return (
        "\n".join(dict.fromkeys([schema, *head]))
        + "\n"
        + yaml.safe_dump({**content, "config": config}, sort_keys=False, allow_unicode=True, width=1000),
        left,
    )
