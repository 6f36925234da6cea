"""Which image plays which part: the pinned upstream releases, or images built on the Docker host itself."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from settings import values
from settings.problems import Problem
from settings.schema import ROOT

UPSTREAM_ROLES: Final = (
    "backend",
    "frontend",
    "postgres",
    "redis",
    "garage",
    "hatchet",
    "ollama",
    "caddy",
    "transcription",
)
"""Every part an image can play."""

# Reflector's own images and Hatchet cannot be built from packages: the probe stands in.
_BUILT: Final[Mapping[str, str]] = {
    "backend": "probe",
    "frontend": "probe",
    "hatchet": "probe",
    "transcription": "probe",
    "postgres": "postgres",
    "redis": "redis",
    "garage": "garage",
    "ollama": "ollama",
    "caddy": "caddy",
}
# Without a command it is the backend; Hatchet's container has a command of its own in any case.
_BUILT_COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "frontend": ("probe", "run", "web"),
    "transcription": ("probe", "start", "transcription"),
}

VERSIONS: Final = ROOT / "toolchain" / "versions.toml"
STAGED: Final = Path(".toolchain") / "images"
"""Where `make images` stages the build contexts, relative to the checkout: state never holds a machine's path."""


@dataclass(frozen=True, kw_only=True)
class ImageSource:
    """Where one image comes from: a registry, or a build context staged in the checkout."""

    reference: str
    """What it is called: `name:tag[@sha256:digest]`; a built one carries its inputs' hash as its tag."""
    context: str | None = None
    """Build context relative to the checkout; None means it is pulled."""
    base: str | None = None
    """Name of the image it is built from, passed as build argument BASE."""


@dataclass(frozen=True, kw_only=True)
class ImageSources:
    """The images of a stack and the parts they play."""

    images: Mapping[str, ImageSource]
    """Image name → source; a base stands before what is built from it."""
    roles: Mapping[str, str]
    """Part (see UPSTREAM_ROLES) → image name."""
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Part → arguments that make its image play that part, where it can play several."""

    def command(self, role: str) -> tuple[str, ...]:
        """Return the arguments for `role`; empty where the image's own command is right."""
        return self.commands.get(role, ())


def upstream_images(overrides: Mapping[str, object], needed: frozenset[str]) -> tuple[ImageSources, list[Problem]]:
    """Return the pinned upstream images for the parts in `needed`, with a user's own references laid over them."""
    problems = []
    pins = tomllib.loads(VERSIONS.read_text(encoding="utf-8"))["images"]
    references = {
        role: f"{pin['repository']}:{pin['tag']}" + (f"@{pin['digest']}" if pin.get("digest") else "")
        for role, pin in pins.items()
    }
    for role, reference in overrides.items():
        path = f"image_references.{role}"
        if role not in UPSTREAM_ROLES:
            problems.append(
                Problem(
                    setting=path,
                    given="unknown image",
                    allowed=", ".join(UPSTREAM_ROLES),
                    remedy=f"Remove it: pulumi config rm --path {path}",
                )
            )
            continue
        try:
            references[role] = values.image_reference(str(reference))
        except ValueError as error:
            problems.append(
                Problem(
                    setting=path,
                    given=f"{reference!r}",
                    allowed=str(error),
                    remedy=f"Pin it: pulumi config set --path {path} <reference>",
                )
            )
            references[role] = str(reference)
    for role in sorted(needed - references.keys()):
        path = f"image_references.{role}"
        problems.append(
            Problem(
                setting=path,
                given="nothing",
                allowed="a pinned image reference: upstream publishes no image for this part",
                remedy=f"Build and push one, then: pulumi config set --path {path} <reference>",
            )
        )
    present = [role for role in UPSTREAM_ROLES if role in needed and role in references]
    return (
        ImageSources(
            images={role: ImageSource(reference=references[role]) for role in present},
            roles={role: role for role in present},
        ),
        problems,
    )


def built_images(
    project: str, needed: frozenset[str], manifest_path: Path = ROOT / STAGED / "manifest.json"
) -> tuple[ImageSources, list[Problem]]:
    """Return the images `make images` has staged for the parts in `needed`."""
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ImageSources(images={}, roles={}), [
            Problem(
                setting="images",
                given="'built', but no build contexts are staged",
                allowed="built, after the contexts were staged",
                remedy="Run: make images",
            )
        ]
    names: list[str] = []
    for role in sorted(needed):
        name = _BUILT[role]
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
            roles={role: _BUILT[role] for role in needed},
            commands=_BUILT_COMMANDS,
        ),
        [],
    )
