"""Authentik's database and the image the settings name: no line is skipped, none goes back, and nobody is asked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from operations import authentik, checks
from operations.healing import IMAGE_TYPE
from operations.stack import Stack
from settings import Settings, parse
from tests.unit.operations.stand_ins import asked, with_file, with_state

REPOSITORY: Final = "ghcr.io/goauthentik/server"
IN_USE: Final = (f"{REPOSITORY}:2026.5.8", "sha256:inuse")


def images(reference: str) -> dict[str, Any]:
    """Return settings with another image, as they are in a stack file."""
    return {
        "images": {"mode": "upstream", "references": {"authentik": reference}},
        "sign_in": {"mode": "authentik"},
    }


def settings_with(reference: str) -> Settings:
    """Return the same, checked."""
    return parse(images(reference), "test", "reflector")


@pytest.mark.parametrize(
    ("reference", "version"),
    [
        ("ghcr.io/goauthentik/server:2026.8.7", ((2026, 8), 7)),
        (f"ghcr.io/goauthentik/server:2026.8.7@sha256:{'0' * 64}", ((2026, 8), 7)),
        ("mirror.test:5000/authentik/server:2025.12.4-arm64", ((2025, 12), 4)),
        ("mirror.test:5000/authentik:2026.11", ((2026, 11), None)),
        ("own.test/goauthentik/server:2026.8.0-rc1", ((2026, 8), 0)),
        # Numbers of somebody's own: of a day, of a build.
        ("own.test/authentik:2026.11.03", None),
        ("own.test/authentik:2026.13.1", None),
        ("own.test/authentik:7.1.0", None),
        ("own.test/identity:2026.8.7", None),
        (f"ghcr.io/goauthentik/server@sha256:{'0' * 64}", None),
        ("reflector-test-authentik:4ea94543d87f", None),
        ("mirror.test:5000/authentik", None),
    ],
)
def test_a_reference_tells_line_and_patch_where_it_is_the_official_name(reference: str, version: object) -> None:
    assert authentik.version_of_reference(reference) == version


def found(former: str, wanted: str) -> list[str]:
    """Return what is said about going from one image to another, without what is only hinted at."""
    in_use = (f"{REPOSITORY}:{former}", "sha256:inuse")
    return list(map(str, authentik.problems(settings_with(f"{REPOSITORY}:{wanted}"), in_use)))


def hinted(former: str, wanted: str) -> list[str]:
    """Return what is hinted at."""
    in_use = (f"{REPOSITORY}:{former}", "sha256:inuse")
    return list(authentik.hints(settings_with(f"{REPOSITORY}:{wanted}"), in_use))


@pytest.mark.parametrize(
    ("former", "wanted", "allowed", "remedy"),
    [
        ("2026.5.8", "2026.11.0", "Authentik 2026.5 or 2026.8: none skips a line", "Go by 2026.8, the newest"),
        ("2025.10.3", "2026.8.7", "Authentik 2025.10 or 2025.12", "Go by 2025.12, then 2026.2, then 2026.5, the"),
        ("2025.12.4", "2026.5.0", "Authentik 2025.12 or 2026.2", "Go by 2026.2, "),
        ("2026.8.7", "2026.5.8", "Authentik 2026.8 or 2026.11: none goes back", f"Keep that image: pulumi config set "
         f"--path images.references.authentik {REPOSITORY}:2026.8.7"),
        ("2026.11.1", "2025.12.4", "Authentik 2026.11 or the line after it", "Keep that image"),
        # Whatever lies between: it goes back.
        ("2027.2.0", "2026.11.0", "Authentik 2027.2 or the line after it: none goes back", "Keep that image"),
    ],
)  # fmt: skip
def test_a_skipped_line_and_an_older_one_are_refused(former: str, wanted: str, allowed: str, remedy: str) -> None:
    (said,) = found(former, wanted)
    assert said.startswith(f"images.references.authentik: {REPOSITORY}:{wanted}, while the database is one of")
    assert f"allowed: {allowed}" in said
    assert remedy in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("former", "wanted"),
    [("2026.5.8", "2026.8.7"), ("2026.8.6", "2026.8.7"), ("2025.12.4", "2026.2.3"), ("2026.8.7", "2026.11.0")],
)
def test_the_next_line_and_a_newer_release_of_the_same_are_taken(former: str, wanted: str) -> None:
    assert found(former, wanted) == []
    assert hinted(former, wanted) == []


@pytest.mark.parametrize(("former", "wanted"), [("2026.11.2", "2027.2.0"), ("2027.1.0", "2027.2.0")])
def test_of_lines_nobody_knows_yet_there_is_a_hint_alone(former: str, wanted: str) -> None:
    assert found(former, wanted) == []
    (hint,) = hinted(former, wanted)
    assert "knows those up to 2026.11 only" in hint


def test_between_a_known_line_and_one_nobody_knows_yet_what_is_known_counts() -> None:
    (said,) = found("2026.5.8", "2027.2.0")
    assert "Go by 2026.8, then 2026.11, " in said


def test_an_older_release_of_the_same_line_is_hinted_at() -> None:
    assert found("2026.8.7", "2026.8.6") == []
    (hint,) = hinted("2026.8.7", "2026.8.6")
    assert "does not support" in hint


@pytest.mark.parametrize(
    ("in_use", "wanted"),
    [
        (None, f"{REPOSITORY}:2026.11.0"),
        (IN_USE, f"{REPOSITORY}@sha256:{'0' * 64}"),
        (IN_USE, "own.test/identity:1.0.0"),
        ((f"{REPOSITORY}@sha256:{'0' * 64}", "sha256:inuse"), f"{REPOSITORY}:2026.11.0"),
        (IN_USE, IN_USE[0]),
    ],
)
def test_what_is_not_told_is_not_guessed(in_use: tuple[str, str] | None, wanted: str) -> None:
    assert list(authentik.problems(settings_with(wanted), in_use)) == []
    assert list(authentik.hints(settings_with(wanted), in_use)) == []


def test_another_way_of_signing_in_has_no_image_to_ask_about() -> None:
    assert list(authentik.problems(parse({}, "test", "reflector"), IN_USE)) == []


@pytest.mark.parametrize(
    ("reference", "expected"), [(f"{REPOSITORY}:2026.11.0", ["images.references.authentik"]), (IN_USE[0], [])]
)
def test_the_check_of_a_stack_looks_at_its_authentik_and_asks_nobody_for_it(
    stack: Stack, docker: Callable[..., Path], reference: str, expected: list[str]
) -> None:
    log = docker()
    with_file(stack, images(reference))
    outputs = {"name": IN_USE[0], "imageId": IN_USE[1]}
    with_state(stack, resources=[{"urn": "urn::images-authentik", "type": IMAGE_TYPE, "outputs": outputs}])
    checked = checks.check(stack)
    assert [one.setting for one in checked.problems if "authentik" in one.setting] == expected
    assert not [call for call in asked(log) if call.startswith(("run", "image"))]


def test_a_line_nobody_knows_yet_is_hinted_at_by_the_check(stack: Stack, docker: Callable[..., Path]) -> None:
    docker()
    with_file(stack, images(f"{REPOSITORY}:2027.2.0"))
    outputs = {"name": f"{REPOSITORY}:2026.11.0", "imageId": "sha256:inuse"}
    with_state(stack, resources=[{"urn": "urn::images-authentik", "type": IMAGE_TYPE, "outputs": outputs}])
    assert [hint for hint in checks.check(stack).hints if "2027.2" in hint]
