"""What a stack needs: asked of the one reader of stack files, and kept."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from testing.commands import calls
from toolchain import needs, venvs
from toolchain.layout import Layout, ToolchainError
from toolchain.progress import Progress
from toolchain.tests.stand_ins import needed, program, put, reader


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[Layout]:
    """For whom the program's Python environment was made sure of; it is there already."""
    ensured: list[Layout] = []

    def ensure(layout: Layout, progress: Progress) -> Path:
        ensured.append(layout)
        return layout.venv

    monkeypatch.setattr(venvs, "ensure", ensure)
    return ensured


def test_the_reader_is_asked_by_the_programs_own_python(layout: Layout, made: list[Layout]) -> None:
    log = reader(layout, needed("ssh://a@b:22", 12.5, images=True))
    assert vars(needs.of(layout, "x")) == needed("ssh://a@b:22", 12.5, images=True)
    assert made == [layout], "it may be missing or old"
    assert [call["arguments"] for call in calls(log)] == [["-m", "settings", "needs", "--stack", "x"]]


def test_the_reader_is_asked_in_the_checkout_from_whatever_folder(layout: Layout) -> None:
    program(layout.venv / "bin", "python", f"pwd > {layout.root}/folder\necho '{json.dumps(needed())}'")
    needs.of(layout, "x")
    assert Path((layout.root / "folder").read_text().strip()) == layout.root.resolve()


def test_the_answer_is_kept(layout: Layout, made: list[Layout]) -> None:
    log = reader(layout, needed(aws=True))
    assert [needs.of(layout, "x").aws for _ in range(3)] == [True] * 3
    assert len(calls(log)) == len(made) == 1, "starting another Python takes longer than all the rest"


def _write_the_stack(root: Path) -> None:
    put(root / "Pulumi.x.yaml", "config: {}")


def _change_the_project(root: Path) -> None:
    put(root / "Pulumi.yaml", "config: {}")


def _change_the_reader(root: Path) -> None:
    put(root / "settings" / "hosts.py", "x = 2")


def _extend_the_reader(root: Path) -> None:
    put(root / "settings" / "more.py", "")


def _move_a_pin(root: Path) -> None:
    put(root / "toolchain" / "versions.toml", "")


@pytest.mark.parametrize(
    "change", [_write_the_stack, _change_the_project, _change_the_reader, _extend_the_reader, _move_a_pin]
)
def test_it_is_asked_anew_when_what_it_comes_from_changes(layout: Layout, change: Callable[[Path], None]) -> None:
    put(layout.root / "settings" / "hosts.py", "x = 1")
    reader(layout, needed())
    assert not needs.of(layout, "x").images
    change(layout.root)
    reader(layout, needed(images=True))
    assert needs.of(layout, "x").images


def test_a_stack_file_that_is_removed_is_a_change(layout: Layout) -> None:
    put(layout.root / "Pulumi.x.yaml", "")
    reader(layout, needed())
    assert not needs.of(layout, "x").images
    (layout.root / "Pulumi.x.yaml").unlink()
    reader(layout, needed(images=True))
    assert needs.of(layout, "x").images


def test_what_has_no_part_in_the_answer_changes_nothing(layout: Layout) -> None:
    log = reader(layout, needed())
    needs.of(layout, "x")
    put(layout.root / "Pulumi.y.yaml", "config: {}")
    put(layout.root / "settings" / "__pycache__" / "hosts.cpython-311.pyc", "")
    put(layout.root / "toolchain" / "needs.py", "")
    needs.of(layout, "x")
    assert len(calls(log)) == 1


def test_each_stack_has_an_answer_of_its_own(layout: Layout) -> None:
    """Pulumi also takes a name with its project and organization in front."""
    for stack, images in (("dev", False), ("org/project/dev", True), ("org-project-dev", False)):
        reader(layout, needed(images=images), stack)
        assert needs.of(layout, stack).images is images


def test_a_reader_that_fails_is_told_with_its_reason(layout: Layout) -> None:
    reader(layout, "", stderr="Traceback …\nImportError: no pydantic\n", status=1)
    with pytest.raises(ToolchainError, match=r"settings needs --stack x` ended with status 1.*\n.*\n.*no pydantic$"):
        needs.of(layout, "x")
    reader(layout, needed())
    needs.of(layout, "x")


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "unix:///var/run/docker.sock\n",
        [],
        {},
        {**needed(), "gpu": True},
        {name: value for name, value in needed().items() if name != "aws"},
        {**needed(), "docker_host": None},
        {**needed(), "minimum_free_disk_gib": "5"},
        {**needed(), "minimum_free_disk_gib": True},
        {**needed(), "images": "built"},
        {**needed(), "aws": 0},
    ],
)
def test_an_answer_of_another_shape_is_refused_and_not_kept(layout: Layout, answer: object) -> None:
    reader(layout, answer)
    with pytest.raises(ToolchainError, match="settings needs --stack x` does not say what the stack needs, but "):
        needs.of(layout, "x")
    reader(layout, needed())
    needs.of(layout, "x")


@pytest.mark.parametrize("content", [None, needed()["images"], {"docker_host": "unix:///x"}])
def test_a_kept_answer_of_another_shape_is_asked_for_anew(layout: Layout, content: object) -> None:
    """An older set-up kept it; nothing the answer comes from has changed."""
    log = reader(layout, needed())
    needs.of(layout, "x")
    kept = layout.stamps / "needs-x.json"
    put(kept, json.dumps({**json.loads(kept.read_text()), "content": content}))
    needs.of(layout, "x")
    put(kept, "")
    needs.of(layout, "x")
    assert len(calls(log)) == 3
