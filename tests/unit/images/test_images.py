"""Images: pinned, made sure of before any container is touched, and kept."""

import asyncio
from typing import Any

import pulumi
import pytest

from components import images
from components.images.image import ImageArgs, Images, ImagesArgs, refuse_moved
from settings import ImageSource, ImageSources
from testing import building
from testing.building import Anchor
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


# --- What a tag meant -------------------------------------------------------------------------------------------------

FIRST = f"sha256:{'1' * 64}"
SECOND = f"sha256:{'2' * 64}"
KNOWN = {"redis": ImageArgs(reference="mirror.test:5000/redis:7.2.1", digest=FIRST)}


def test_an_image_that_is_what_its_tag_meant_is_taken() -> None:
    refuse_moved(KNOWN, {"redis": f"mirror.test:5000/redis@{FIRST}"})


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (f"mirror.test:5000/redis@{SECOND}", f"is {SECOND} now"),
        ("", "has no digest now, as it was not pulled but loaded or built"),
        (None, "has no digest now, as it was not pulled but loaded or built"),
    ],
)
def test_another_image_under_a_tag_is_refused_with_one_line(found: Any, said: str) -> None:
    with pytest.raises(pulumi.RunError) as refusal:
        refuse_moved(KNOWN, {"redis": found})
    assert str(refusal.value) == (
        f"the image mirror.test:5000/redis:7.2.1 {said} and was {FIRST}: the tag was moved, and no container is "
        f"touched. If that is meant to be: make images-accept; to stay with what it was, give it as "
        f"mirror.test:5000/redis@{FIRST}"
    )


def made(*, redis: str | None) -> building.Built:
    """Return two images, of which the first was `redis` when it was first pulled."""
    references = {
        "redis": ImageArgs(reference="redis:7.2.1", digest=redis),
        "other": ImageArgs(reference="other:1.2.3"),
    }
    return building.build(lambda near: Images("it", ImagesArgs(host=near.host, images=references)))


def test_no_image_is_handed_out_before_all_are_what_they_were() -> None:
    same = made(redis=f"sha256:{'4' * 64}")  # as the recording engine has it of every image
    assert value_of(same.component.ids["other"]) == value_of(made(redis=None).component.ids["other"])
    with pytest.raises(pulumi.RunError, match=r"the image redis:7\.2\.1 is sha256:"):
        made(redis=SECOND)


# --- A registry that lets nobody in -----------------------------------------------------------------------------------


def failure(name: str, error: str) -> pulumi.ErrorHookArgs:
    return pulumi.ErrorHookArgs(
        urn="urn", id="", name="n", type="t", new_inputs={"name": name}, failed_operation="create", errors=[error]
    )


@pytest.mark.parametrize(
    ("name", "registry"), [("mirror.test:5000/redis:7.2.1", "mirror.test:5000"), ("redis:7.2.1", "docker.io")]
)
def test_a_refused_login_is_told_by_its_setting(monkeypatch: pytest.MonkeyPatch, name: str, registry: str) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "error", said.append)
    engine = building.built("Images").engine
    hook: Any = engine.hooks["it-refused-login"].callback
    assert (
        asyncio.run(hook(failure(name, "Error response from daemon: unauthorized: authentication required"))) is False
    )
    assert said == [
        f"{registry} does not give out {name} with this login, or without one. Set the right one: pulumi config set "
        f"--path 'images.registries[\"{registry}\"].username' <name> and pulumi config set --secret --path "
        f"'images.registries[\"{registry}\"].password'"
    ]
    assert asyncio.run(hook(failure(name, "no such host"))) is False
    assert len(said) == 1


@pytest.mark.parametrize("trusted", [True, False])
def test_nothing_is_pulled_before_the_host_trusts_the_registry(trusted: bool) -> None:
    async def install() -> str:
        await asyncio.sleep(0.1)
        if not trusted:
            raise RuntimeError("the host trusts nobody")
        return ""

    def make(near: building.Neighbours) -> None:
        wanted = {
            "pulled": ImageArgs(reference="registry.test/postgres:17.2"),
            "built": ImageArgs(reference=f"built:{'0' * 12}", context="images/base"),
        }
        Images("it", ImagesArgs(host=near.host, images=wanted, pulls=pulumi.Output.from_input(install())))

    if not trusted:
        with pytest.raises(Exception, match="the host trusts nobody"):
            building.build(make)
        return
    engine = building.build(make).engine
    assert engine.named("it-pulled").plain("name") == "registry.test/postgres:17.2"
    names = [resource.name for resource in engine.resources]
    assert names.index("it-built") < names.index("it-pulled")


def test_a_stack_that_is_taken_down_keeps_its_images_and_not_the_trust_they_were_pulled_by() -> None:
    def make(near: building.Neighbours) -> None:
        trusted = Anchor("trusted")
        wanted = {"pulled": ImageArgs(reference="registry.test/postgres:17.2")}
        Images("it", ImagesArgs(host=near.host, images=wanted, pulls=trusted.urn))

    engine = building.build(make).engine
    assert not building.depends_on(engine, engine.named("it-pulled"), "trusted")


def test_only_what_is_pulled_can_be_refused() -> None:
    built = building.built("Images")
    assert list(built.named("it-pulled").request.hooks.on_error) == ["it-refused-login"]
    assert list(built.named("it-made").request.hooks.on_error) == []
