"""What images were when they were first pulled is written down, and a moved tag accepted on purpose only."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from operations import image_lock
from operations.healing import IMAGE_TYPE
from operations.stack import Stack
from settings import Settings, lock_of, lock_path, lock_text, parse
from settings.base import Sealed
from tests.unit.operations.stand_ins import asked, with_engine, with_state

FIRST: Final = f"sha256:{'1' * 64}"
SECOND: Final = f"sha256:{'2' * 64}"
REDIS: Final = "mirror.test:5000/redis:7.2.1"
CADDY: Final = "mirror.test:5000/caddy:2.11.6"


def settings(redis: object = REDIS) -> Settings:
    """Return settings with two images pulled by a tag of a mirror, besides those of upstream."""
    return parse({"images": {"mode": "upstream", "references": {"redis": redis, "caddy": CADDY}}}, "test", "reflector")


def image(name: Any, digest: Any, **inputs: Any) -> dict[str, Any]:
    """Return an image as the state has it."""
    return {"urn": f"urn::{name}", "type": IMAGE_TYPE, "inputs": {"name": name, **inputs},
            "outputs": {"repoDigest": digest}}  # fmt: skip


def of(reference: str, digest: str) -> str:
    return f"{reference.rpartition(':')[0]}@{digest}"


def locked(stack: Stack) -> dict[str, str]:
    known, problems = lock_of(stack.name, stack.layout.root)
    assert problems == []
    return dict(known)


def test_the_first_pull_of_a_tag_is_written_down(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    with_state(
        stack,
        resources=[
            image(REDIS, of(REDIS, FIRST)),
            image(CADDY, ""),  # loaded, and so nobody knows
            image(f"postgres:17.2@{SECOND}", f"postgres@{SECOND}"),
            image("reflector-probe:aaaaaaaaaaaa", "", build=[{}]),
            {"urn": "urn::old", "type": "x:y/z:Z"},
        ],
    )
    image_lock.record(stack, settings())
    assert locked(stack) == {REDIS: FIRST}
    assert "Pulumi.test.images.lock" in capsys.readouterr().out
    assert [file.name for file in stack.layout.root.iterdir() if "lock" in file.name] == ["Pulumi.test.images.lock"]


def test_what_is_written_down_stays_whatever_is_there_now(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    path = lock_path(stack.name, stack.layout.root)
    path.write_text(lock_text({REDIS: FIRST, "gone:1.2.3": FIRST}))
    with_state(stack, resources=[image(REDIS, of(REDIS, SECOND)), image(CADDY, of(CADDY, SECOND))])
    image_lock.record(stack, settings())
    assert locked(stack) == {REDIS: FIRST, CADDY: SECOND, "gone:1.2.3": FIRST}
    before = path.read_bytes()
    capsys.readouterr()
    image_lock.record(stack, settings())
    assert (path.read_bytes(), capsys.readouterr().out) == (before, "")


def test_a_stack_that_builds_its_images_has_nothing_to_write_down(stack: Stack) -> None:
    with_state(stack, resources=[image("reflector-probe:aaaaaaaaaaaa", "", build=[{}])])
    built = parse({"images": {"mode": "upstream"}}, "test", "reflector")
    image_lock.record(stack, built)
    assert not lock_path(stack.name, stack.layout.root).exists()


def test_an_encrypted_reference_is_not_written_into_a_file_that_is_committed(stack: Stack) -> None:
    secret = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:x"}
    with_state(stack, resources=[image(secret, of(REDIS, FIRST)), image(REDIS, of(REDIS, FIRST))])
    image_lock.record(stack, settings(redis=Sealed(REDIS)))
    assert not lock_path(stack.name, stack.layout.root).exists()


def test_another_backend_is_asked_through_the_engine_and_only_for_what_is_new(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://somebodys-state")
    resources = [image(REDIS, of(REDIS, FIRST)), image(CADDY, of(CADDY, FIRST))]
    resources += [image(reference, f"x@{SECOND}") for reference in settings().sources.tagged - {REDIS, CADDY}]
    log = with_engine(stack, stack_export=json.dumps({"deployment": {"resources": resources}}))
    image_lock.record(stack, settings())
    assert locked(stack)[REDIS] == FIRST
    image_lock.record(stack, settings())
    assert asked(log) == ["stack export --stack test"]


def test_a_moved_tag_is_accepted_for_what_it_is_now(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    lock_path(stack.name, stack.layout.root).write_text(lock_text({REDIS: FIRST, CADDY: FIRST, "gone:1.2.3": FIRST}))
    with_state(stack, resources=[image(REDIS, of(REDIS, SECOND)), image(CADDY, "")])
    assert image_lock.accept(stack) == 0
    assert locked(stack) == {REDIS: SECOND, "gone:1.2.3": FIRST}, "of one without a digest nothing can be said"
    assert capsys.readouterr().out == (
        f"{REDIS}: {FIRST} → {SECOND}\n{CADDY}: {FIRST} → any, as it was not pulled\nTo deploy it: make up STACK=test\n"
    )


def test_where_nothing_moved_nothing_is_accepted(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    path = lock_path(stack.name, stack.layout.root)
    path.write_text(lock_text({REDIS: FIRST}))
    with_state(stack, resources=[image(REDIS, of(REDIS, FIRST)), image(CADDY, of(CADDY, FIRST))])
    assert image_lock.accept(stack) == 0
    assert (locked(stack), capsys.readouterr().out) == ({REDIS: FIRST}, "No image was refused.\n")


def test_a_broken_file_is_not_written_over(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    path: Path = lock_path(stack.name, stack.layout.root)
    path.write_text("[images\n")
    assert image_lock.accept(stack) == 1
    assert path.read_text() == "[images\n"
    assert "Pulumi.test.images.lock: " in capsys.readouterr().err
