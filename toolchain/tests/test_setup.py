"""Parts: which are installed, where they are put, and in which order they are obtained."""

import io
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from toolchain import compilers, recipes, setup
from toolchain.layout import Layout, ToolchainError
from toolchain.parts import INSTALLED, REGISTRY, RELEASE, Obtained, Part, Workshop
from toolchain.pins import Pins
from toolchain.progress import Progress
from toolchain.tests.stand_ins import obtained


def test_parts_go_where_the_engine_looks(layout: Layout, tmp_path: Path) -> None:
    engine = obtained(tmp_path / "c" / "engine", "engine", "1.0", "pulumi")
    docker = obtained(tmp_path / "c" / "docker", "docker", "5.2.0", "pulumi-resource-docker")
    placed = setup.install(layout, [engine, docker])
    assert placed == [
        layout.bin / "pulumi",
        layout.plugins / "resource-docker-v5.2.0" / "pulumi-resource-docker",
    ]
    for path in placed:
        # The engine follows links to find what lies beside it, so what came from the cache must be here itself.
        assert not path.is_symlink()
        assert os.access(path, os.X_OK)


def test_installing_again_replaces_and_leaves_no_drafts(layout: Layout, tmp_path: Path) -> None:
    old = obtained(tmp_path / "c" / "1", "engine", "1.0", "pulumi")
    new = obtained(tmp_path / "c" / "2", "engine", "2.0", "pulumi")
    for part in (old, old, new, new):
        setup.install(layout, [part])
    assert (layout.bin / "pulumi").read_text() == "engine 2.0"
    assert [path.name for path in layout.bin.iterdir()] == ["pulumi"]
    assert old.main.read_text() == "engine 1.0"


def test_programs_of_images_stay_when_the_cache_goes(layout: Layout, tmp_path: Path) -> None:
    caddy = obtained(tmp_path / "c" / "caddy", "caddy", "2.0", "caddy")
    old = obtained(tmp_path / "c" / "1", "ollama", "0.1", "ollama", "lib/ollama/libggml-old.so")
    new = obtained(tmp_path / "c" / "2", "ollama", "0.2", "ollama", "lib/ollama/libggml-base.so.0")
    (tmp_path / "c" / "2" / "lib" / "ollama" / "libggml-base.so").symlink_to("libggml-base.so.0")
    new.files["lib/ollama/libggml-base.so"] = str(tmp_path / "c" / "2" / "lib" / "ollama" / "libggml-base.so")
    layout.bin.mkdir(parents=True)
    (layout.bin / "caddy").symlink_to(caddy.main)
    setup.install(layout, [caddy, old])
    setup.install(layout, [new])
    shutil.rmtree(tmp_path / "c")
    assert (layout.bin / "caddy").read_text() == "caddy 2.0"
    assert (layout.bin / "ollama").read_text() == "ollama 0.2"
    # Ollama takes every backend it finds in ../lib/ollama, seen from its own folder.
    libraries = {path.name: path.read_text() for path in (layout.bin.parent / "lib" / "ollama").iterdir()}
    assert libraries == {"libggml-base.so": "ollama 0.2", "libggml-base.so.0": "ollama 0.2"}


def test_what_the_user_installed_is_only_linked_to(layout: Layout, tmp_path: Path) -> None:
    mine = obtained(tmp_path / "usr", "engine", "1.0", "pulumi", origin=INSTALLED)
    setup.install(layout, [mine])
    assert (layout.bin / "pulumi").readlink() == tmp_path / "usr" / "pulumi"


def script(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_an_installed_engine_counts_only_in_exactly_the_pinned_version(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = Pins.read(layout.root)
    catalogue = setup.Catalogue(layout, pins)
    folder = tmp_path / "usr" / "bin"
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    assert catalogue.engine().find_installed() is None
    script(folder / "pulumi", f"v{pins.version('pulumi')}")
    assert catalogue.engine().find_installed() == {"pulumi": folder / "pulumi"}
    assert catalogue.language().find_installed() is None, "the language host must lie beside the engine"
    for name in catalogue.language().files:
        script(folder / name, "")
    assert catalogue.language().find_installed() is not None
    script(folder / "pulumi", "v3.1.0")
    assert catalogue.engine().find_installed() is None


def test_our_own_engine_on_path_is_not_taken_for_the_users(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = Pins.read(layout.root)
    script(layout.bin / "pulumi", f"v{pins.version('pulumi')}")
    monkeypatch.setenv("PATH", f"{layout.bin}:/usr/bin:/bin")
    assert setup.Catalogue(layout, pins).engine().find_installed() is None


def test_an_installed_plugin_counts_when_it_is_whole(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = Pins.read(layout.root)
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    part = setup.Catalogue(layout, pins).plugin("tls")
    folder = tmp_path / "home" / "plugins" / f"resource-tls-v{pins.version('tls')}"
    assert part.find_installed() is None
    program = script(folder / "pulumi-resource-tls", "")
    partial = folder.with_name(f"{folder.name}.partial")
    partial.touch()
    assert part.find_installed() is None
    partial.unlink()
    assert part.find_installed() == {"pulumi-resource-tls": program}


@pytest.mark.parametrize(
    ("name", "says", "taken"),
    [
        ("caddy", "v{} h1:abc=", True),
        ("garage", "garage v{} [features: lmdb]", True),
        ("caddy", "v2.0.0 h1:abc=", False),
        ("ollama", "ollama version is {}", False),
    ],
)
def test_installed_programs_for_images(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str, taken: bool
) -> None:
    pins = Pins.read(layout.root)
    catalogue = setup.Catalogue(layout, pins)
    catalogue.host = catalogue.container
    script(tmp_path / "usr" / name, says.format(pins.version(name)))
    monkeypatch.setenv("PATH", f"{tmp_path / 'usr'}:/usr/bin:/bin")
    assert (catalogue.image_part(name).find_installed() is not None) == taken


def test_what_nobody_releases_or_installs_says_so(layout: Layout) -> None:
    catalogue = setup.Catalogue(layout, Pins.read(layout.root))
    parts = [catalogue.image_part(name) for name in recipes.RECIPES]
    assert [part.name for part in parts if part.origins() == (REGISTRY,)] == ["rootfs", "model", "probe"]


def test_the_plugins_share_one_build_and_aws_has_none() -> None:
    catalogue = setup.Catalogue(Layout(), Pins.read())
    shared = [catalogue.plugin(name).shared for name in setup.REQUIRED_PLUGINS]
    assert all(part is not None and part.name == "plugins" for part in shared)
    assert len({part.registry_key() for part in shared if part is not None}) == 1
    assert catalogue.plugin("aws").shared is None
    assert catalogue.plugin("aws").build is None


def test_lanes_run_side_by_side_and_each_in_order() -> None:
    seen: list[str] = []
    # Passes only when a task of each lane waits at it at the same time.
    meeting = threading.Barrier(2, timeout=10)

    def task(name: str) -> Callable[[], None]:
        def work() -> None:
            meeting.wait()
            seen.append(name)

        return work

    setup.run_lanes([[task("a1"), task("a2")], [], [task("b1"), task("b2")]], Progress(io.StringIO()))
    assert [name for name in seen if name[0] == "a"] == ["a1", "a2"]
    assert sorted(seen) == ["a1", "a2", "b1", "b2"]


def test_a_missing_compiler_is_noticed_before_anything_is_obtained(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLCHAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TOOLCHAIN_ORIGINS", "release,registry")
    begun: list[str] = []
    monkeypatch.setattr(recipes, "prepare", lambda name, progress: None)
    monkeypatch.setattr(Workshop, "obtain", lambda shop, part: begun.append(part.name))

    def ensure_rust(pins: Pins, progress: Progress) -> None:
        raise ToolchainError("Rust is needed")

    monkeypatch.setattr(compilers, "ensure_rust", ensure_rust)
    with pytest.raises(ToolchainError, match="Rust is needed"):
        setup.setup(layout, Progress(io.StringIO()), base=False, with_images=True)
    assert begun == []


def test_a_failure_is_said_at_once_and_raised_at_the_end() -> None:
    log = io.StringIO()
    seen: list[str] = []

    def fail() -> None:
        raise ToolchainError("no compiler\nmore")

    with pytest.raises(ToolchainError, match="no compiler"):
        setup.run_lanes([[fail, lambda: seen.append("never")], [lambda: time.sleep(0.1)]], Progress(log))
    assert "Failed: no compiler (" in log.getvalue()
    assert seen == []


def test_the_aws_plugin_is_obtained_once(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = Pins.read(layout.root)
    plugin = obtained(tmp_path / "c", "aws", pins.version("aws"), "pulumi-resource-aws", origin=RELEASE)
    asked: list[str] = []

    def obtain(shop: Workshop, part: Part) -> Obtained:
        asked.append(part.name)
        return plugin

    monkeypatch.setattr(Workshop, "obtain", obtain)
    for _ in range(2):
        setup.setup(layout, Progress(io.StringIO()), base=False, with_aws=True)
    assert asked == ["aws"]
    (layout.plugins / f"resource-aws-v{pins.version('aws')}" / "pulumi-resource-aws").unlink()
    setup.setup(layout, Progress(io.StringIO()), base=False, with_aws=True)
    assert asked == ["aws", "aws"]
