"""The commands: what set-up does for a stack, and what `clean` removes."""

import socket
from pathlib import Path

import pytest

from testing.commands import calls
from toolchain import cli, daemon, setup, stamps, venvs
from toolchain.layout import Layout, ToolchainError
from toolchain.progress import Progress
from toolchain.tests.stand_ins import needed, program, reader


@pytest.fixture(autouse=True)
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done, in order; all of it goes well."""
    order: list[str] = []

    def ensure_environment(layout: Layout, progress: Progress) -> Path:
        order.append("environment")
        return layout.venv

    def set_up(layout: Layout, progress: Progress, **options: bool) -> None:
        order.append("set-up of " + ", ".join(name for name, wanted in options.items() if wanted))

    monkeypatch.setattr(venvs, "ensure", ensure_environment)
    monkeypatch.setattr(daemon, "ensure", lambda *given: order.append(f"daemon {given[-2]} with {given[-1]} GiB"))
    monkeypatch.setattr(daemon, "ensure_command", lambda _: order.append("docker command"))
    monkeypatch.setattr(setup, "setup", set_up)
    return order


def finish(layout: Layout, *steps: str) -> None:
    """Leave behind what finished steps of set-up do."""
    for name in steps:
        find = {"images": stamps.image_fingerprint, "dev": stamps.dev_fingerprint}.get(name, stamps.setup_fingerprint)
        stamps.write(layout, name, find(layout), [])


def test_a_stack_is_asked_for_before_docker_and_docker_before_all_that_takes_long(
    layout: Layout, done: list[str]
) -> None:
    log = reader(layout, needed("unix:///run/d.sock", 12))
    assert cli._setup(layout, True, "x") == 0
    assert len(calls(log)) == 1
    assert done == ["environment", "daemon /run/d.sock with 12 GiB", "docker command", "set-up of dev"]


@pytest.mark.parametrize(
    ("needs", "wanted"),
    [
        (needed(), "set-up of "),
        (needed(aws=True), "set-up of with_aws"),
        (needed(images=True), "set-up of with_images"),
    ],
)
def test_a_stack_gets_what_it_needs(layout: Layout, done: list[str], needs: dict[str, object], wanted: str) -> None:
    reader(layout, needs)
    assert cli._setup(layout, False, "x") == 0
    assert done[-1] == wanted


def test_without_a_stack_nobody_asks_for_docker(layout: Layout, done: list[str]) -> None:
    assert cli._setup(layout, False, None) == 0
    assert done == ["set-up of "]


def test_a_daemon_that_will_not_do_keeps_everything_from_being_obtained(
    layout: Layout, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ensure(*_: object) -> None:
        raise ToolchainError("no Docker daemon answers")

    monkeypatch.setattr(daemon, "ensure", ensure)
    reader(layout, needed())
    with pytest.raises(ToolchainError, match="no Docker daemon"):
        cli._setup(layout, False, "x")
    assert done == ["environment"]


@pytest.mark.parametrize("host", ["ssh://a@b", "tcp://b:2376"])
def test_of_a_daemon_elsewhere_only_the_command_is_looked_for(layout: Layout, done: list[str], host: str) -> None:
    reader(layout, needed(host))
    assert cli._setup(layout, False, "x") == 0
    assert done == ["environment", "docker command", "set-up of "]


def test_when_all_is_there_a_daemon_that_answers_is_asked_nothing(
    layout: Layout, done: list[str], bare: Path, tmp_path: Path
) -> None:
    """The checks before a deployment ask it, and asking takes longer than all the rest of set-up."""
    path = tmp_path / "d.sock"
    reader(layout, needed(f"unix://{path}", images=True, aws=True))
    finish(layout, "setup", "images", "aws", "dev")
    program(bare, "docker", "exit 0")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        assert cli._setup(layout, True, "x") == 0
        assert done == ["environment"]
        assert cli._setup(layout, True, "x") == 0
    assert done == ["environment"]
    assert cli._setup(layout, True, "x") == 0
    assert done == ["environment", f"daemon {path} with 5 GiB", "docker command"], "it has stopped since"
    (bare / "docker").unlink()
    reader(layout, needed("ssh://a@b"), "y")
    assert cli._setup(layout, True, "y") == 0
    assert done[-1] == "docker command"


@pytest.mark.parametrize("step", ["setup", "images", "aws", "dev"])
def test_each_step_that_is_not_finished_is_due(layout: Layout, done: list[str], step: str) -> None:
    reader(layout, needed("ssh://a@b", images=True, aws=True))
    finish(layout, *({"setup", "images", "aws", "dev"} - {step}))
    assert cli._setup(layout, True, "x") == 0
    assert done[-1] == "set-up of dev, with_aws, with_images"


def test_clean_keeps_state_passphrase_login_and_secrets_of_renewals(layout: Layout) -> None:
    for path in (
        layout.state / "s", layout.passphrase, layout.pulumi_home / "credentials.json", layout.renewal / "dev.env"
    ):  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    for path in (layout.bin / "pulumi", layout.plugins / "resource-a-v1" / "p", layout.installed, layout.images / "m"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("made")
    assert cli._clean(layout, False) == 0
    left = sorted(str(path.relative_to(layout.home)) for path in layout.home.rglob("*") if path.is_file())
    assert left == ["passphrase", "pulumi/credentials.json", "renewal/dev.env", "state/s"]


def test_clean_empties_the_cache_of_what_is_ours_alone(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("TOOLCHAIN_CACHE", str(cache))

    def fill() -> None:
        for name in ("parts/a-1/a", "downloads/1/a.tar.gz", "work/a-1/a", "locks/a.lock", "go/1/bin/go", "build/g/x"):
            (cache / name).parent.mkdir(parents=True)
            (cache / name).write_text("made")
        (cache / "rust").mkdir()
        (cache / "rust" / "cargo").symlink_to("/usr/bin/cargo")
        (cache / "go" / "1" / "bin").chmod(0o555)

    fill()
    (cache / "photos").mkdir()
    (cache / "parts.txt").write_text("mine")
    assert cli._clean(layout, False) == 0
    assert len(list(cache.iterdir())) == 9
    assert cli._clean(layout, True) == 0
    assert sorted(path.name for path in cache.iterdir()) == ["parts.txt", "photos"]

    (cache / "photos").rmdir()
    (cache / "parts.txt").unlink()
    fill()
    assert cli._clean(layout, True) == 0
    assert not cache.exists()
    assert cli._clean(layout, True) == 0
