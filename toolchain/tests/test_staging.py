"""Staging: the build contexts of the development images."""

import json
import os
import platform
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from toolchain import images
from toolchain.layout import ToolchainError
from toolchain.tests.bench import Bench, elf
from toolchain.tests.stand_ins import put


def test_every_context_is_whole_and_described(bench: Bench) -> None:
    manifest = bench.stage()

    assert json.loads((bench.out / "manifest.json").read_text()) == manifest
    assert list(manifest) == ["base", "postgres", "redis", "garage", "caddy", "ollama", "probe"]
    for name, entry in manifest.items():
        assert set(entry) == {"context", "base", "sha256"}
        assert entry["context"] == name
        assert entry["base"] == (None if name == "base" else "base")
        assert re.fullmatch("[0-9a-f]{64}", entry["sha256"] or "")
    assert bench.tree("postgres") == {"Dockerfile": 0o644, "postgres.tar": 0o644, "docker-entrypoint.sh": 0o755}
    assert bench.tree("garage") == {"Dockerfile": 0o644, "garage": 0o755}
    assert bench.tree("ollama") == {"Dockerfile": 0o644, "root/usr/bin/ollama": 0o755, "models/tiny/model.gguf": 0o644}
    assert bench.tree("probe") == {
        "Dockerfile": 0o644,
        "probe/__init__.py": 0o644,
        "site-packages/starlette/__init__.py": 0o644,
    }


def test_staging_again_touches_nothing(bench: Bench) -> None:
    bench.stage()
    before = {
        path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in bench.out.rglob("*") if path.name != ".lock"
    }

    bench.stage()

    after = {
        path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in bench.out.rglob("*") if path.name != ".lock"
    }
    assert after == before


def _change_content(bench: Bench) -> None:
    put(bench.sources / "redis" / "Dockerfile", "FROM other\n")


def _change_mode(bench: Bench) -> None:
    (bench.sources / "redis" / "Dockerfile").chmod(0o755)


def _add_file(bench: Bench) -> None:
    put(bench.sources / "redis" / "more", "")


def _rename_file(bench: Bench) -> None:
    (bench.sources / "redis" / "Dockerfile").replace(bench.sources / "redis" / "other")
    put(bench.sources / "redis" / "Dockerfile", "")


def _change_part(bench: Bench) -> None:
    put(bench.cache / "rootfs" / "redis.tar", "r")


@pytest.mark.parametrize("change", [_change_content, _change_mode, _add_file, _rename_file, _change_part])
def test_a_change_of_one_image_renames_only_that_image(bench: Bench, change: Callable[[Bench], None]) -> None:
    before = bench.hashes()

    change(bench)
    after = bench.hashes()

    assert {name for name in after if after[name] != before[name]} == {"redis"}
    assert set(bench.tree("redis")) == {
        *(path.name for path in (bench.sources / "redis").iterdir()),
        "redis.tar",
    }


def test_a_change_of_the_base_renames_everything_built_on_it(bench: Bench) -> None:
    before = bench.hashes()

    put(bench.cache / "rootfs" / "base.tar", "another base")
    after = bench.hashes()

    assert all(after[name] != before[name] for name in after)


def test_hashes_do_not_depend_on_where_or_when_things_were_made(tmp_path: Path) -> None:
    first, second = Bench(tmp_path / "a"), Bench(tmp_path / "b" / "c")
    for path in second.cache.rglob("*"):
        os.utime(path, (1, 1))

    assert first.hashes() == second.hashes()


def test_a_file_that_left_the_sources_leaves_the_context(bench: Bench) -> None:
    extra = put(bench.sources / "caddy" / "extra", "x")
    bench.stage()
    assert (bench.out / "caddy" / "extra").exists()

    extra.unlink()
    bench.stage()

    assert not (bench.out / "caddy" / "extra").exists()


@pytest.mark.parametrize("damage", ["missing", "cut", "extra", "mode"])
def test_a_damaged_context_is_staged_again(bench: Bench, damage: str) -> None:
    bench.stage()
    file = bench.out / "redis" / "Dockerfile"
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_text("")
    elif damage == "extra":
        put(bench.out / "redis" / "stray", "")
    else:
        file.chmod(0o600)

    bench.stage()

    assert bench.tree("redis") == {"Dockerfile": 0o644, "redis.tar": 0o644}
    assert file.read_text() == (bench.sources / "redis" / "Dockerfile").read_text()


def test_what_an_interrupted_run_left_is_removed(bench: Bench) -> None:
    put(bench.out / ".redis.new" / "half", "x")
    put(bench.out / ".redis.old" / "Dockerfile", "x")

    bench.stage()

    assert not (bench.out / ".redis.new").exists()
    assert not (bench.out / ".redis.old").exists()
    assert "half" not in bench.tree("redis")


def test_modes_do_not_depend_on_the_umask(bench: Bench) -> None:
    expected = bench.hashes()
    shutil.rmtree(bench.out)
    for path in bench.cache.rglob("*.py"):
        path.chmod(0o600)

    previous = os.umask(0o077)
    try:
        assert bench.hashes() == expected
    finally:
        os.umask(previous)

    assert bench.tree("probe")["site-packages/starlette/__init__.py"] == 0o644
    folders = [path for path in (bench.out / "probe").rglob("*") if path.is_dir()]
    assert folders
    assert all(path.stat().st_mode & 0o777 == 0o755 for path in folders)


def test_changing_a_staged_source_changes_no_checkout_file(bench: Bench) -> None:
    bench.stage()

    staged = bench.out / "redis" / "Dockerfile"

    assert staged.stat().st_ino != (bench.sources / "redis" / "Dockerfile").stat().st_ino


def test_libraries_beside_an_official_ollama_come_along(bench: Bench) -> None:
    library = put(bench.cache / "ollama" / "lib" / "ollama" / "libggml-cpu-haswell.so", elf())
    before = bench.hashes()
    bench.parts["ollama"] = {**bench.parts["ollama"], "lib/ollama/libggml-cpu-haswell.so": str(library)}

    after = bench.hashes()

    assert bench.tree("ollama")["root/usr/lib/ollama/libggml-cpu-haswell.so"] == 0o755
    assert after["ollama"] != before["ollama"]


def test_a_part_that_is_not_given_is_named(bench: Bench) -> None:
    del bench.parts["garage"]

    with pytest.raises(ToolchainError, match="image garage needs garage of the part garage; given are caddy, model"):
        bench.stage()


def test_a_part_whose_file_is_gone_is_named(bench: Bench) -> None:
    (bench.cache / "model" / "model.gguf").unlink()

    with pytest.raises(ToolchainError, match=r"image ollama needs .*model\.gguf, which is not there"):
        bench.stage()


def test_a_failed_staging_leaves_the_manifest_as_it_was(bench: Bench) -> None:
    before = bench.stage()
    put(bench.sources / "base" / "Dockerfile", "FROM scratch\n# changed\n")
    del bench.parts["probe"]

    with pytest.raises(ToolchainError, match="image probe"):
        bench.stage()

    assert json.loads((bench.out / "manifest.json").read_text()) == before


@pytest.mark.parametrize(
    "symbols", [(), ("GLIBC_2.36", "GLIBC_2.2.5"), ("GLIBCXX_3.4.30",), ("GLIBC_PRIVATE", "XGLIBC_9.9")]
)
def test_programs_for_debian_12_are_accepted(tmp_path: Path, symbols: tuple[str, ...]) -> None:
    images.check_program(put(tmp_path / "garage", elf(*symbols)))


@pytest.mark.parametrize(
    ("symbol", "message"),
    [
        ("GLIBC_2.38", r"needs GLIBC 2\.38, but the images bring 2\.36"),
        ("GLIBC_3.0", r"needs GLIBC 3\.0,"),
        ("GLIBCXX_3.4.32", r"needs GLIBCXX 3\.4\.32, but the images bring 3\.4\.30"),
    ],
)
def test_a_program_linked_on_a_newer_system_is_refused(tmp_path: Path, symbol: str, message: str) -> None:
    with pytest.raises(ToolchainError, match=message):
        images.check_program(put(tmp_path / "garage", elf("GLIBC_2.2.5", symbol)))


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\xcf\xfa\xed\xfe" + bytes(60), elf(machine=8)])
def test_a_program_for_another_system_is_refused(bench: Bench, content: bytes) -> None:
    put(bench.cache / "garage" / "garage", content, 0o755)

    with pytest.raises(ToolchainError, match=f"is not a Linux program for {platform.machine()}"):
        bench.stage()


def test_a_real_program_of_this_machine_is_read(tmp_path: Path) -> None:
    """The hand-made headers above are like real ones."""
    content = Path("/bin/sh").resolve().read_bytes()
    needed = max(tuple(map(int, found.split(b"."))) for found in re.findall(rb"\0GLIBC_(\d+\.\d+)(?=\0)", content))

    if needed <= (2, 36):
        images.check_program(put(tmp_path / "sh", content))
    else:
        with pytest.raises(ToolchainError, match="needs GLIBC"):
            images.check_program(put(tmp_path / "sh", content))
