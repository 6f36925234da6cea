"""What counts as pinned, where it is pulled from, and what names a model."""

import pytest

from rendering.reference import digest_of, is_model_name, is_pinned, registry_of


@pytest.mark.parametrize(
    "reference",
    [
        f"sha256:{'0' * 64}", f"a@sha256:{'0' * 64}", f"a:latest@sha256:{'0' * 64}", "a:17.2", "a:17.2-alpine",
        "ghcr.io/a/b/c:v0.86.12", "localhost:5000/a:1.2.3", f"a:{'0' * 12}", f"a:{'a' * 64}", "a:2025.1.0",
    ],
)  # fmt: skip
def test_a_reference_that_always_means_one_image_is_pinned(reference: str) -> None:
    assert is_pinned(reference)


@pytest.mark.parametrize(
    "reference",
    [
        "", "postgres", "postgres:latest", "postgres:17", "postgres:v1", "postgres:alpine", "postgres:stable-1",
        "postgres@sha256:00", f"sha256:{'0' * 63}", f"sha256:{'G' * 64}", "a:1.2 ", "A:1.2.3", "localhost:5000/a",
        ":1.2.3", f"a:{'0' * 11}",
    ],
)  # fmt: skip
def test_a_reference_that_can_come_to_mean_another_image_is_not_pinned(reference: str) -> None:
    assert not is_pinned(reference)


@pytest.mark.parametrize(("name", "expected"), [("qwen2.5:14b", True), ("", False), ("-x", False), ("a b", False)])
def test_a_model_name_is_one_word_that_is_no_option(name: str, expected: bool) -> None:
    assert is_model_name(name) is expected, "it becomes an argument of a command"


@pytest.mark.parametrize(
    ("reference", "registry"),
    [
        ("postgres:17.2", "docker.io"), ("ollama/ollama:0.1.2", "docker.io"), ("docker.io/a/b:1.2", "docker.io"),
        ("ghcr.io/a/b/c:v0.1.2", "ghcr.io"), ("localhost/a:1.2", "localhost"), ("mirror:5000/a:1.2", "mirror:5000"),
        ("10.0.0.1:5000/a:1.2", "10.0.0.1:5000"), (f"postgres:17.2@sha256:{'0' * 64}", "docker.io"),
    ],
)  # fmt: skip
def test_a_reference_begins_with_its_registry_or_is_of_docker_hub(reference: str, registry: str) -> None:
    assert registry_of(reference) == registry


def test_the_digest_of_a_reference_is_what_it_says_itself() -> None:
    assert digest_of(f"localhost:5000/a:1.2@sha256:{'0' * 64}") == f"sha256:{'0' * 64}"
    assert digest_of("localhost:5000/a:1.2") is None
