"""The commands: what set-up does for a stack, and what `clean` removes."""

import io
from pathlib import Path

import pytest

from toolchain import cli, daemon, setup, stamps
from toolchain.layout import Layout, ToolchainError
from toolchain.parts import RELEASE, Workshop
from toolchain.pins import Pins
from toolchain.progress import Progress
from toolchain.tests.stand_ins import obtained


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, bool]]:
    """What set-up was asked for, each time; Docker is as it should be."""
    calls: list[dict[str, bool]] = []
    monkeypatch.setattr(setup, "setup", lambda layout, progress, **options: calls.append(options))
    monkeypatch.setattr(daemon, "ensure", lambda *_: None)
    monkeypatch.setattr(daemon, "ensure_command", lambda _: None)
    return calls


def stack_of(layout: Layout, *settings: str) -> str:
    (layout.root / "Pulumi.x.yaml").write_text("config:\n" + "".join(f"  reflector:{line}\n" for line in settings))
    return "x"


@pytest.mark.parametrize(
    ("settings", "with_aws", "wanted"),
    [
        (("storage: s3",), False, True),
        (('storage: "s3"  # the bucket is made',), False, True),
        (("storage: garage",), False, False),
        (("storage: external",), False, False),
        ((), False, False),
        ((), True, True),
    ],
)
def test_a_stack_on_s3_gets_the_aws_plugin(
    layout: Layout, asked: list[dict[str, bool]], settings: tuple[str, ...], with_aws: bool, wanted: bool
) -> None:
    assert cli._setup(layout, False, with_aws, stack_of(layout, *settings)) == 0
    assert asked == [{"dev": False, "with_aws": wanted, "with_images": False}]


def test_docker_is_looked_at_before_anything_is_obtained(
    layout: Layout, asked: list[dict[str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ensure(*_: object) -> None:
        raise ToolchainError("no Docker daemon answers")

    monkeypatch.setattr(daemon, "ensure", ensure)
    with pytest.raises(ToolchainError, match="no Docker daemon"):
        cli._setup(layout, False, False, stack_of(layout))
    assert asked == []
    assert cli._setup(layout, False, False, stack_of(layout, "docker_host: ssh://a@b")) == 0
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("settings", "asked_for"),
    [(("minimum_free_disk_gib: 12",), 12), (("minimum_free_disk_gib: 5 GiB",), daemon.FREE_DISK_GIB)],
)
def test_free_disk_that_is_no_number_is_left_to_the_check_of_the_settings(
    layout: Layout,
    asked: list[dict[str, bool]],
    monkeypatch: pytest.MonkeyPatch,
    settings: tuple[str, ...],
    asked_for: float,
) -> None:
    free: list[object] = []
    monkeypatch.setattr(daemon, "ensure", lambda *arguments: free.append(arguments[-1]))
    assert cli._setup(layout, False, False, stack_of(layout, *settings)) == 0
    assert free == [asked_for]


@pytest.mark.parametrize("settings", [(), ("docker_host: ssh://a@b",), ("docker_host: tcp://b:2376",)])
def test_the_docker_command_is_looked_for_wherever_the_daemon_is(
    layout: Layout, asked: list[dict[str, bool]], monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
) -> None:
    def ensure_command(_: object) -> None:
        raise ToolchainError("no docker command")

    monkeypatch.setattr(daemon, "ensure_command", ensure_command)
    with pytest.raises(ToolchainError, match="no docker command"):
        cli._setup(layout, False, False, stack_of(layout, *settings))
    assert asked == []
    assert cli._setup(layout, False, False, None) == 0, "without a stack nothing is deployed"


def test_the_aws_plugin_is_obtained_once(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = Pins.read(layout.root)
    plugin = obtained(tmp_path / "c", "aws", pins.version("aws"), "pulumi-resource-aws", origin=RELEASE)
    monkeypatch.setattr(Workshop, "obtain", lambda shop, part: plugin)
    monkeypatch.setattr(Workshop, "prepare", lambda shop, part: None)
    setup.setup(layout, Progress(io.StringIO()), base=False, with_aws=True)
    stamps.write(layout, "setup", stamps.setup_fingerprint(layout), [])
    monkeypatch.setattr(setup, "setup", lambda *_, **__: pytest.fail("nothing is to be done"))
    monkeypatch.setattr(daemon, "ensure", lambda *_: None)
    monkeypatch.setattr(daemon, "ensure_command", lambda _: None)
    stack = stack_of(layout, "storage: s3")
    assert cli._setup(layout, False, False, stack) == 0
    (layout.plugins / f"resource-aws-v{pins.version('aws')}" / "pulumi-resource-aws").unlink()
    with pytest.raises(pytest.fail.Exception):
        cli._setup(layout, False, False, stack)


def test_clean_keeps_state_passphrase_and_login(layout: Layout) -> None:
    for path in (layout.state / "s", layout.passphrase, layout.pulumi_home / "credentials.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    for path in (layout.bin / "pulumi", layout.plugins / "resource-a-v1" / "p", layout.installed, layout.images / "m"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("made")
    assert cli._clean(layout, False) == 0
    left = sorted(str(path.relative_to(layout.home)) for path in layout.home.rglob("*") if path.is_file())
    assert left == ["passphrase", "pulumi/credentials.json", "state/s"]


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
