"""Which image plays which part: the pinned upstream releases, or images built on the Docker host itself."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from rendering.reference import digest_of, registry_of
from settings.base import Conflict, Model, Secret, dotted
from settings.image_lock import lock_of
from settings.problems import Problem
from settings.values import AbsoluteFile, ImageReference, Password, RegistryAddress, Word

ROOT: Final = Path(__file__).resolve().parent.parent
_VERSIONS: Final = ROOT / "toolchain" / "versions.toml"
_PARTS: Final = ROOT / "images" / "parts.toml"
STAGED: Final = Path(".toolchain") / "images"
"""Where `make images` stages the build contexts, relative to the checkout: state never holds a machine's path."""


class References(Model):
    """References of a user's own, in place of the pinned ones."""

    backend: ImageReference | None = Field(default=None, description="Reflector's backend")
    frontend: ImageReference | None = Field(default=None, description="Reflector's web frontend")
    transcription: ImageReference | None = Field(
        default=None, description="The speech service, of which upstream publishes no image"
    )
    postgres: ImageReference | None = Field(default=None, description="PostgreSQL")
    redis: ImageReference | None = Field(default=None, description="Redis")
    garage: ImageReference | None = Field(default=None, description="Garage")
    hatchet: ImageReference | None = Field(default=None, description="Hatchet")
    ollama: ImageReference | None = Field(default=None, description="Ollama")
    caddy: ImageReference | None = Field(default=None, description="Caddy")
    authentik: ImageReference | None = Field(default=None, description="Authentik")


class Registry(Model):
    """A login for a registry."""

    username: Word = Field(description="User name at that registry")
    password: Password = Field(description="Password or access token for it")


class Upstream(Model):
    """The released images pinned in toolchain/versions.toml."""

    mode: Literal["upstream"] = "upstream"
    references: References = Field(
        default=References(), description="Other references for single images, each with an exact tag or a digest"
    )
    registries: dict[RegistryAddress, Registry] = Field(
        default={}, description="Logins by registry, each named as the references begin; docker.io is Docker Hub"
    )
    docker_config: AbsoluteFile | None = Field(
        default=None,
        description="A config.json of the docker command whose logins and credential helpers serve for every other "
        "registry",
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield a file of logins that cannot be read."""
        if self.docker_config is None:
            return
        try:
            # The provider reads it anew when it pulls; what is in it is no business of the settings.
            valid = isinstance(json.loads(Path(self.docker_config).expanduser().read_text(encoding="utf-8")), dict)
            reason = "no JSON object"
        except OSError as error:
            valid, reason = False, error.strerror or "cannot be read"
        except (ValueError, RuntimeError):
            valid, reason = False, "no JSON object"
        if not valid:
            yield Conflict(
                path=("docker_config",),
                given=f"{self.docker_config}: {reason}",
                allowed="a configuration file of the docker command, such as ~/.docker/config.json",
                remedy="Log in with docker, or set another: pulumi config set --path {path} <file>",
            )


class Built(Model):
    """Made on the Docker host from Debian packages, with the probe in place of Reflector's own images."""

    mode: Literal["built"] = "built"


Images: TypeAlias = Annotated[Upstream | Built, Field(discriminator="mode")]


@dataclass(frozen=True, kw_only=True)
class ImageSource:
    """Where one image comes from: a registry, or a build context staged in the checkout."""

    reference: str
    """What it is called: `name:tag[@sha256:digest]`; a built one carries its inputs' hash as its tag."""
    context: str | None = None
    """Build context relative to the checkout; None means it is pulled."""
    base: str | None = None
    """Name of the image it is built from, passed as build argument BASE."""
    digest: str | None = None
    """What a reference without a digest was first pulled as (`sha256:…`); None: not yet known."""


@dataclass(frozen=True, kw_only=True)
class RegistryLogin:
    """How to log in to a registry."""

    address: str
    """`host[:port]`; docker.io is Docker Hub."""
    username: str = ""
    password: Secret | None = None
    docker_config: str | None = None
    """Where both are found instead."""


@dataclass(frozen=True, kw_only=True)
class ImageSources:
    """The images of a stack and the parts they play."""

    images: Mapping[str, ImageSource]
    """Image name → source; a base stands before what is built from it."""
    parts: Mapping[str, str]
    """Part (a field of References) → image name."""
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Part → arguments that make its image play that part, where it can play several."""
    logins: tuple[RegistryLogin, ...] = ()
    """One for each registry that is to be logged in to."""

    @property
    def tagged(self) -> frozenset[str]:
        """References of what is pulled by a tag alone."""
        return frozenset(
            source.reference
            for source in self.images.values()
            if source.context is None and digest_of(source.reference) is None
        )


def sources(
    images: Upstream | Built, project: str, stack: str, needed: frozenset[str]
) -> tuple[ImageSources, list[Problem]]:
    """Return the images for the parts in `needed`, and what is missing of them."""
    match images:
        case Upstream():
            return _upstream(images, stack, needed)
        case Built():
            return _built(project, needed)


def _upstream(images: Upstream, stack: str, needed: frozenset[str]) -> tuple[ImageSources, list[Problem]]:
    pins = tomllib.loads(_VERSIONS.read_text(encoding="utf-8"))["images"]
    references = {
        part: f"{pin['repository']}:{pin['tag']}" + (f"@{pin['digest']}" if pin.get("digest") else "")
        for part, pin in pins.items()
    }
    references |= {part: reference for part, reference in images.references if reference is not None}
    lock, lock_problems = lock_of(stack, ROOT)
    problems = [
        Problem(
            setting=f"images.references.{part}",
            given="nothing",
            allowed="a pinned image reference: upstream publishes no image for this part",
            remedy=f"Build and push one, then: pulumi config set --path images.references.{part} <reference>",
        )
        for part in sorted(needed - references.keys())
    ]
    registries = {registry_of(reference) for reference in references.values()}
    problems += [
        Problem(
            setting=dotted(("images", "registries", address)),
            given="a registry no image comes from",
            allowed=f"one of {', '.join(sorted(registries))}",
            remedy="Rename it in the stack file as the images begin, or set images.references first",
        )
        for address in sorted(images.registries.keys() - registries)
    ]
    problems += lock_problems
    present = [part for part in References.model_fields if part in needed and part in references]
    return (
        ImageSources(
            images={
                part: ImageSource(
                    reference=references[part],
                    digest=None if digest_of(references[part]) else lock.get(references[part]),
                )
                for part in present
            },
            parts={part: part for part in present},
            logins=tuple(_logins(images, {registry_of(references[part]) for part in present})),
        ),
        problems,
    )


def _logins(images: Upstream, registries: set[str]) -> Iterator[RegistryLogin]:
    for address in sorted(registries):
        login = images.registries.get(address)
        if login is not None:
            yield RegistryLogin(address=address, username=login.username, password=login.password)
        elif images.docker_config is not None:
            yield RegistryLogin(address=address, docker_config=images.docker_config)


def _built(project: str, needed: frozenset[str]) -> tuple[ImageSources, list[Problem]]:
    try:
        manifest = json.loads((ROOT / STAGED / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ImageSources(images={}, parts={}), [
            Problem(
                setting="images.mode",
                given="'built', but no build contexts are staged",
                allowed="built, after the contexts were staged",
                remedy="Run: make images",
            )
        ]
    parts = tomllib.loads(_PARTS.read_text(encoding="utf-8"))
    names: list[str] = []
    played = sorted(needed & parts.keys())
    for part in played:
        name = parts[part]["image"]
        for candidate in (manifest[name]["base"], name):
            if candidate is not None and candidate not in names:
                names.append(candidate)
    return (
        ImageSources(
            images={
                name: ImageSource(
                    reference=f"{project}-{name}:{manifest[name]['sha256'][:12]}",
                    context=f"{STAGED}/{manifest[name]['context']}",
                    base=manifest[name]["base"],
                )
                for name in names
            },
            parts={part: parts[part]["image"] for part in played},
            commands={part: tuple(parts[part]["command"]) for part in played if "command" in parts[part]},
        ),
        [
            Problem(
                setting="images.mode",
                given=f"'built', and no image of this project plays {part}",
                allowed="upstream, or built with an image for every part in images/parts.toml",
                remedy="Set it: pulumi config set --path images.mode upstream",
            )
            for part in sorted(needed - parts.keys())
        ],
    )
