"""`make doctor`: what is there, and what is missing."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from toolchain import doctor, setup
from toolchain.layout import Layout
from toolchain.parts import INSTALLED, REGISTRY, RELEASE
from toolchain.pins import Pins
from toolchain.tests.stand_ins import obtained


def test_doctor_names_what_is_missing(layout: Layout, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert doctor.main(layout, tmp_path / "docker.sock") == 1
    text = capsys.readouterr().out
    assert "missing: engine, language, docker, tls, command, random, venv. Run: make setup" in text
    assert "no daemon answers" in text


def test_doctor_tells_where_every_part_came_from(
    layout: Layout, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLCHAIN_CACHE", str(tmp_path / "cache"))
    pins = Pins.read(layout.root)
    origins = {"engine": INSTALLED, "language": RELEASE}
    parts = [
        obtained(tmp_path / "cache" / "parts" / name, name, version, f"f-{name}", origin=origins.get(name, REGISTRY))
        for name, version, needed in doctor.expected(pins)
        if needed
    ]
    model = obtained(tmp_path / "cache" / "parts" / "model", "model", "", "model.gguf")
    parts[1] = replace(parts[1], proof="sha512 ab12")
    setup.install(layout, parts)
    setup.record(layout, [*parts, model])
    for path in (layout.venv / "bin" / "python", layout.images / "manifest.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    # Links to what is installed stay; all else is in the checkout, and nothing needs the cache.
    for part in (*parts[1:], model):
        shutil.rmtree(part.main.parent)
    assert doctor.main(layout, tmp_path / "docker.sock") == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["engine"].split()[1:3] == [pins.version("pulumi"), "installed"]
    assert "official release (sha512)" in lines["language"]
    assert "built from the registries" in lines["tls"]
    assert "abababababab" in lines["tls"]
    assert lines["tls"].endswith(f".toolchain/pulumi/plugins/resource-tls-v{pins.version('tls')}/f-tls")
    assert lines["model"].endswith(".toolchain/images/manifest.json")
    assert lines["garage"].split()[2:] == ["not", "asked", "for"]
    parts[0].main.unlink()
    (layout.bin / "f-language").unlink()
    assert doctor.main(layout, tmp_path / "docker.sock") == 1
    assert "missing: engine, language. Run: make setup" in capsys.readouterr().out


def test_a_part_of_another_version_is_missing(
    layout: Layout, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    setup.record(layout, [obtained(tmp_path / "x", "engine", "0.1", "pulumi")])
    assert doctor.main(layout, tmp_path / "docker.sock") == 1
    assert "missing: engine" in capsys.readouterr().out
