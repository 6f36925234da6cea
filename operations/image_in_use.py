"""The image a part is played by now, and the one the settings name for it from now on."""

from collections.abc import Iterable
from dataclasses import dataclass

from operations.healing import IMAGE_TYPE, Resource, of_type
from settings import Settings


@dataclass(frozen=True, kw_only=True)
class Change:
    """A part that is to be played by another image."""

    setting: str
    """The setting that decides which."""
    former: str
    """Reference in the state."""
    former_id: str
    """Id of that image on the Docker host."""
    wanted: str
    """Reference in the settings."""


def image_in_use(resources: Iterable[Resource], part: str) -> tuple[str, str] | None:
    """Return the reference and the id of the image in the state that plays `part`, None if there is none."""
    for resource in of_type(resources, IMAGE_TYPE):
        if resource["urn"].endswith(f"::images-{part}"):
            return str(resource["outputs"]["name"]), str(resource["outputs"]["imageId"])
    return None


def change(settings: Settings, part: str, in_use: tuple[str, str] | None) -> Change | None:
    """Return how the image of `part` changes; None if it does not, or if there is or will be none.

    `in_use` is what is in the state, None also where that is not known.
    """
    name = settings.sources.parts.get(part)
    if name is None or in_use is None:
        return None
    wanted = settings.sources.images[name].reference
    former, former_id = in_use
    if wanted == former:
        return None
    setting = "images.mode" if settings.images.mode == "built" else f"images.references.{part}"
    return Change(setting=setting, former=former, former_id=former_id, wanted=wanted)


def name_and_tag(reference: str) -> tuple[str, str]:
    """Return the name of an image and its tag; both are empty where it has no tag."""
    name, _, tag = reference.partition("@")[0].rpartition(":")
    return ("", "") if "/" in tag else (name, tag)
