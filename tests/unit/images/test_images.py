"""Images: pinned, made sure of before any container is touched, and kept."""

import pytest

from components import images
from components.images.image import ImageArgs
from settings import ImageSource, ImageSources
from testing import building
from testing.engine import value_of


def test_an_image_that_is_not_pinned_is_refused_by_its_reference() -> None:
    with pytest.raises(ValueError, match="image 'postgres:latest' is not pinned: give a digest or an exact tag"):
        ImageArgs(reference="postgres:latest")


def test_an_image_is_built_from_the_base_it_names() -> None:
    built = building.built("Images")
    build = built.named("it-made").plain("build")
    assert build["buildArgs"] == {"BASE": f"base:{'0' * 12}"}
    assert built.named("it-base").urn in built.named("it-made").request.dependencies


def test_images_stay_on_their_host() -> None:
    for image in building.below(building.built("Images").engine, "it"):
        assert image.plain("keepLocally") is True, "the way back needs them"
        assert "::host-provider::" in image.request.provider


def test_an_image_that_is_pulled_is_not_built() -> None:
    assert "build" not in building.built("Images").named("it-pulled").inputs


SOURCES = ImageSources(
    images={
        "base": ImageSource(reference=f"base:{'0' * 12}", context="base"),
        "probe": ImageSource(reference=f"probe:{'1' * 12}", context="probe", base="base"),
    },
    parts={"backend": "probe", "frontend": "probe"},
    commands={"frontend": ("run", "web")},
)


def test_each_part_is_handed_over_as_an_image_and_what_makes_it_play_the_part() -> None:
    made = building.build(lambda near: images.images("images", SOURCES, near.host))
    parts = made.component
    assert parts.keys() == {"backend", "frontend"}
    assert value_of(parts["backend"].id) == value_of(parts["frontend"].id) == f"sha256:{'1' * 64}"
    assert (parts["backend"].command, parts["frontend"].command) == ((), ("run", "web"))
    assert {image.name for image in made.engine.of_type(building.IMAGE)} == {"images-base", "images-probe"}
