"""The documented shapes of a stack, each run once as the engine would run it."""

import asyncio
import json
import runpy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final
from unittest import mock

import pulumi
import yaml

from settings import images as image_settings
from settings.schema import ROOT, SECRETS
from tests.unit.engine import Engine, Registered

# Recognisable, so that they can be looked for where they must not be.
CONFIGURED_SECRETS: Final[Mapping[str, str]] = {
    "transcription_api_key": "ConfiguredSpeechKey",
    "hf_token": "ConfiguredHuggingFaceToken",
    "llm_api_key": "ConfiguredModelKey",
    "s3_secret_access_key": "ConfiguredStoreSecret",
}
DOCKER_KEY: Final = "ConfiguredDockerKey"

_ELSEWHERE: Final[Mapping[str, object]] = {
    "transcription": "hosted",
    "transcription_url": "https://speech.example.com",
    "transcription_api_key": CONFIGURED_SECRETS["transcription_api_key"],
    "hf_token": CONFIGURED_SECRETS["hf_token"],
    "llm": "external",
    "llm_url": "https://models.example.com/v1",
    "llm_api_key": CONFIGURED_SECRETS["llm_api_key"],
    "storage": "external",
    "s3_region": "eu-central-1",
    "s3_endpoint": "https://objects.example.com",
    "s3_access_key_id": "AKIA0",
    "s3_secret_access_key": CONFIGURED_SECRETS["s3_secret_access_key"],
}

SHAPES: Final[Mapping[str, Mapping[str, object]]] = {
    # The first two are the committed stack files; the others say how they differ from the production one.
    "dev": {},
    "selfhosted": {},
    "elsewhere": _ELSEWHERE,
    "s3": {"storage": "s3", "s3_region": "eu-central-1"},
    "no-llm": {"llm": "none"},
    "no-login": {"authentication": "none"},
    "remote": {"docker_host": "tcp://docker.example.com:2376"},
    "speech-container": {"transcription": "container", "image_references": {"transcription": "speech:1.2.3"}},
}
WITHOUT_GARAGE: Final = frozenset({"elsewhere", "s3"})
WITHOUT_OLLAMA: Final = frozenset({"elsewhere", "no-llm"})
WITH_TRANSCRIPTION: Final = frozenset({"dev", "speech-container"})


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A shape, and what the program asked the engine for."""

    name: str
    engine: Engine
    config: Mapping[str, object]

    def of_type(self, type_: str) -> list[Registered]:
        return self.engine.of_type(type_)

    @property
    def containers(self) -> Mapping[str, Registered]:
        """Containers by service."""
        return {
            container.plain("name").removeprefix("reflector-test-"): container
            for container in self.of_type("docker:index/container:Container")
        }

    @property
    def services(self) -> frozenset[str]:
        return frozenset(self.containers)


def _staged() -> Path:
    """Return a manifest as `make images` writes it."""
    manifest = Path(mkdtemp()) / "manifest.json"
    names = ("base", "postgres", "redis", "garage", "caddy", "ollama", "probe")
    manifest.write_text(
        json.dumps(
            {
                name: {
                    "context": name,
                    "base": None if name in {"base", "postgres", "redis"} else "base",
                    "sha256": f"{index:x}" * 64,
                }
                for index, name in enumerate(names, start=1)
            }
        ),
        encoding="utf-8",
    )
    return manifest


def _certificates() -> str:
    folder = Path(mkdtemp())
    for name, content in (("ca.pem", "ConfiguredCa"), ("cert.pem", "ConfiguredCert"), ("key.pem", DOCKER_KEY)):
        (folder / name).write_text(content, encoding="ascii")
    return str(folder)


@cache
def shape(name: str) -> Shape:
    """Return the shape called `name`, run once for all tests, which only look at the record."""
    file = ROOT / f"Pulumi.{name if name == 'dev' else 'selfhosted'}.yaml"
    stack_file: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))["config"]
    config = {
        **{key: value for key, value in stack_file.items() if key.startswith("reflector:")},
        **{f"reflector:{key}": value for key, value in SHAPES[name].items()},
    }
    if name == "remote":
        config["reflector:docker_certificates"] = _certificates()
    if name == "elsewhere":
        for key in ("reflector:llm_model",):
            config.pop(key)
    # The engine hands everything over as text.
    handed = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
    asyncio.set_event_loop(asyncio.new_event_loop())
    engine = Engine()
    with mock.patch.object(image_settings.built_images, "__defaults__", (_staged(),)), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the SDK of AWS, about itself
        pulumi.runtime.config.set_all_config(handed, [f"reflector:{key}" for key in SECRETS])
        engine.run(lambda: runpy.run_path(str(ROOT / "__main__.py")))
    return Shape(name=name, engine=engine, config=config)
