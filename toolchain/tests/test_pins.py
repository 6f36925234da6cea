"""The pinned set: moving a pin, and what is derived from it."""

import importlib.metadata
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from toolchain import pins
from toolchain.layout import ROOT, ToolchainError


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of nothing but the pinned set and what is derived from it."""
    (tmp_path / "toolchain").mkdir()
    shutil.copy(ROOT / "toolchain" / "versions.toml", tmp_path / "toolchain")
    pins.pin(None, None, root=tmp_path)
    return tmp_path


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package index, which finds that all other packages can stay where they are."""
    monkeypatch.setattr(pins, "resolved", lambda text, probe: text)


def test_the_committed_files_agree_with_the_pinned_set() -> None:
    assert pins.disagreements() == []


def test_nothing_floats() -> None:
    data = pins.Pins.read().data
    for image in data["images"].values():
        assert image["tag"] not in ("", "latest")
        assert image["digest"] == "" or image["digest"].startswith("sha256:")
    for text in pins.requirements(pins.Pins.read()).values():
        for line in text.splitlines():
            assert line.startswith(("#", "-r ")) or line.count("==") == 1, line


@pytest.mark.usefixtures("settled")
def test_moving_a_plugin_moves_its_python_package_too_and_shows_both(checkout: Path) -> None:
    difference = pins.pin("docker", "v9.9.9", root=checkout)
    assert '-version = "5.2.0"\n+version = "9.9.9"' in difference
    assert "-pulumi-docker==5.2.0\n+pulumi-docker==9.9.9" in difference
    assert pins.Pins.read(checkout).version("docker") == "9.9.9"
    assert "pulumi-docker==9.9.9\n" in (checkout / "requirements.txt").read_text()
    assert pins.disagreements(checkout) == []


def test_what_pulumi_install_installs_has_no_sdk_of_a_plugin_that_few_stacks_need() -> None:
    files = pins.requirements(pins.Pins.read())
    assert [name for name, text in files.items() if "pulumi-aws==" in text] == ["requirements-aws.txt"]
    assert "-r requirements-aws.txt\n" in files["requirements-dev.txt"]
    for name in pins.PLUGINS:
        if name != "aws":
            assert f"pulumi-{name}==" in files["requirements.txt"]


@pytest.mark.usefixtures("settled")
def test_the_engine_itself_refuses_to_be_older_than_the_pinned_one(checkout: Path) -> None:
    project = checkout / "Pulumi.yaml"
    project.write_text('name: x\nrequiredPulumiVersion: ">=3.1.0"  # why\nconfig: {}\n')
    (found,) = pins.disagreements(checkout)
    assert found.startswith("Pulumi.yaml does not require the pulumi")
    difference = pins.pin("pulumi", "3.300.1", root=checkout)
    assert '-requiredPulumiVersion: ">=3.1.0"  # why\n+requiredPulumiVersion: ">=3.300.1"  # why\n' in difference
    assert project.read_text() == 'name: x\nrequiredPulumiVersion: ">=3.300.1"  # why\nconfig: {}\n'
    assert pins.disagreements(checkout) == []


def test_a_project_file_that_requires_no_engine_is_a_disagreement(checkout: Path) -> None:
    (checkout / "Pulumi.yaml").write_text("name: x\n")
    assert pins.disagreements(checkout) == [
        'Pulumi.yaml has no line `requiredPulumiVersion: ">=<version>"`; give it one.'
    ]


def test_only_the_one_pin_and_no_comment_changes(checkout: Path) -> None:
    before = (checkout / "toolchain" / "versions.toml").read_text().splitlines()
    pins.pin("garage", "2.6.1", root=checkout)
    after = (checkout / "toolchain" / "versions.toml").read_text().splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [('version = "2.5.0"', 'version = "2.6.1"')]


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(
    "sums",
    [
        '"caddy" = { "linux-amd64" = "a" }\ntls = { linux-amd64 = "b" }\n',
        'caddy.linux-amd64 = "a"\ntls.linux-amd64 = "b"\n',
        '[sha256.caddy]\n"linux-amd64" = "a"\n\n[sha256.tls]\nlinux-amd64 = "b"\n',
    ],
)
def test_sums_of_the_old_version_are_dropped(checkout: Path, sums: str) -> None:
    path = checkout / "toolchain" / "versions.toml"
    path.write_text(path.read_text().replace("[sha256]\n", f"[sha256]\n{sums}\n# A comment.\n"))
    assert pins.Pins.read(checkout).sha256("caddy", "linux-amd64") == "a"
    pins.pin("caddy", "2.99.0", root=checkout)
    assert pins.Pins.read(checkout).sha256("caddy", "linux-amd64") is None
    pins.pin("tls", "5.99.0", root=checkout)
    assert pins.Pins.read(checkout).sha256("tls", "linux-amd64") is None
    assert "# A comment.\n" in path.read_text()


def test_what_the_recipes_take_moves_too(checkout: Path) -> None:
    pins.pin("recipes.gguf", "0.99.0", root=checkout)
    assert pins.Pins.read(checkout).data["recipes"]["gguf"] == "0.99.0"
    digest = "sha256:" + "1" * 64
    pins.pin("recipes.debian_image", f"12.99-slim@{digest}", root=checkout)
    assert pins.Pins.read(checkout).data["recipes"]["debian_image"] == f"debian:12.99-slim@{digest}"


def test_an_image_moves_with_its_digest(checkout: Path) -> None:
    digest = "sha256:" + "1" * 64
    pins.pin("images.redis", f"7.2.99-alpine@{digest}", root=checkout)
    assert pins.Pins.read(checkout).data["images"]["redis"] == {
        "repository": "redis",
        "tag": "7.2.99-alpine",
        "digest": digest,
    }
    pins.pin("images.redis", "7.4.1", root=checkout)
    assert pins.Pins.read(checkout).data["images"]["redis"]["digest"] == ""


def test_a_python_package_moves(checkout: Path) -> None:
    pins.pin("semver", "3.9.9", root=checkout)
    assert "semver==3.9.9\n" in (checkout / "requirements.txt").read_text()


@pytest.mark.parametrize(
    ("part", "version", "message"),
    [
        ("dokcer", "1.0.0", "Pinned are: pulumi, caddy"),
        ("docker", "latest", "exact version"),
        ("docker", ">=5", "exact version"),
        ("images.redis", "latest", "exact image tag"),
        ("images.redis", "7.2@sha256:12", "exact image tag"),
        ("images.radis", "7.2", "No pin named"),
        ("recipes.ggfu", "1.0.0", "No pin named"),
        ("recipes.gguf", "latest", "exact version"),
        ("recipes.debian_image", "latest", "exact image tag"),
        ("docker", None, "Give the version"),
    ],
)
def test_bad_pins_are_refused_and_nothing_is_written(
    checkout: Path, part: str, version: str | None, message: str
) -> None:
    before = (checkout / "toolchain" / "versions.toml").read_text()
    with pytest.raises(ToolchainError, match=message):
        pins.pin(part, version, root=checkout)
    assert (checkout / "toolchain" / "versions.toml").read_text() == before


def test_every_kind_of_disagreement_is_found(checkout: Path) -> None:
    (checkout / "requirements.txt").write_text("pulumi\n")
    (checkout / "requirements-dev.txt").unlink()
    (checkout / "toolchain" / "go").mkdir()
    (checkout / "toolchain" / "go" / "go.mod").write_text("require (\n\tgithub.com/pulumi/pulumi/sdk/v3 v3.1.0\n)\n")
    (checkout / "images" / "probe").mkdir(parents=True)
    (checkout / "images" / "probe" / "requirements.txt").write_text("typing_extensions==1.0\n")
    found = "\n".join(pins.disagreements(checkout))
    assert "requirements.txt does not agree" in found
    assert "requirements-dev.txt is missing" in found
    assert "sdk/v3 v3.1.0" in found
    assert "typing-extensions is" in found
    assert len(found.splitlines()) == 4


def wheel(folder: Path, name: str, version: str, metadata: str = "") -> None:
    folder.mkdir(exist_ok=True)
    information = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(
            f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}"
        )
        archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{information}/RECORD", "")


def test_packages_are_resolved_by_a_python_without_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Debian's is, which `make pin` is run by."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    index = tmp_path / "index"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    wheel(index, "top", "1.0", "Requires-Dist: below\n")
    wheel(index, "below", "1.0")
    wheel(index, "below", "2.0")
    assert pins._resolve(["top==1.0"], {"below": "1.0"}) == {"top": "1.0", "below": "1.0"}


def needed_by(names: Iterable[str]) -> set[str]:
    """Return these packages and all they need, as the environment of the tests has them."""
    found: set[tuple[str, str]] = set()
    waiting = [(pins._canonical(name), "") for name in names]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) not in found:
            found.add((name, extra))
            for need in map(Requirement, importlib.metadata.requires(name) or ()):
                if need.marker is None or need.marker.evaluate({"extra": extra}):
                    waiting += [(pins._canonical(need.name), more) for more in ("", *need.extras)]
    return {name for name, _ in found}


@pytest.mark.parametrize(
    ("kind", "direct"),
    [("runtime", (*pins.Pins.read().sdks(), *pins._DIRECT_RUNTIME)), ("dev", pins._DIRECT_DEV)],
)
def test_every_package_is_asked_for_or_needed_by_one_that_is(kind: str, direct: tuple[str, ...]) -> None:
    """Else it would be lost when packages are resolved anew."""
    assert {pins._canonical(name) for name in pins.Pins.read().data["python"][kind]} <= needed_by(direct)


def test_new_transitive_packages_enter_and_old_ones_leave(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {**pins.Pins.read(checkout).data["python"]["runtime"], "brand-new": "1.0"}
    del found["parver"]
    monkeypatch.setattr(pins, "_resolve", lambda wanted, current: {**found, "pulumi": "3.999.0"})
    difference = pins.pin("pulumi", "3.999.0", root=checkout)
    runtime = pins.Pins.read(checkout).data["python"]["runtime"]
    assert runtime["brand-new"] == "1.0"
    assert "parver" not in runtime
    assert "pulumi" not in runtime
    assert "+brand-new==1.0" in difference
    assert "-parver==" in difference
    assert pins.disagreements(checkout) == []


def test_what_the_probe_pins_is_held_to_and_not_pinned_again(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = checkout / "images" / "probe" / "requirements.txt"
    probe.parent.mkdir(parents=True)
    probe.write_text("# as upstream has it\nshared_package==1.0\n")
    asked: list[list[str]] = []

    def resolve(wanted: list[str], current: dict[str, str]) -> dict[str, str]:
        asked.append(wanted)
        pinned = pins.Pins.read(checkout).data["python"]
        return {**pinned["runtime"], **(pinned["dev"] if len(asked) == 2 else {}), "shared-package": "1.0"}

    monkeypatch.setattr(pins, "_resolve", resolve)
    pins.pin("pytest", "9.9.9", root=checkout)
    assert ["shared-package==1.0" in wanted for wanted in asked] == [False, True]
    assert "shared-package" not in pins.Pins.read(checkout).data["python"]["dev"]


def go(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    program = folder / "bin" / "go"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


@pytest.mark.usefixtures("settled")
def test_moving_pulumi_moves_the_go_modules_too(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_mod = checkout / "toolchain" / "go" / "go.mod"
    go_mod.parent.mkdir()
    go_mod.write_text("require github.com/pulumi/pulumi/sdk/v3 v3.259.0\n")
    go(checkout, monkeypatch, '[ "$1" = get ] && sed -i "s/v3.259.0/${3##*@}/" go.mod; echo "$@" >> ../asked')
    difference = pins.pin("pulumi", "3.260.0", root=checkout)
    assert "+require github.com/pulumi/pulumi/sdk/v3 v3.260.0" in difference
    assert "+pulumi==3.260.0" in difference
    assert (checkout / "toolchain" / "asked").read_text().splitlines() == [
        "get github.com/pulumi/pulumi/pkg/v3@v3.260.0 github.com/pulumi/pulumi/sdk/v3@v3.260.0",
        "mod tidy",
    ]
    assert pins.disagreements(checkout) == []


@pytest.mark.usefixtures("settled")
def test_a_version_the_module_proxy_lacks_changes_nothing(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_mod = checkout / "toolchain" / "go" / "go.mod"
    go_mod.parent.mkdir()
    go_mod.write_text("require github.com/pulumi/pulumi/sdk/v3 v3.259.0\n")
    go(checkout, monkeypatch, "echo broken > go.mod; echo unknown revision >&2; exit 1")
    with pytest.raises(ToolchainError, match="unknown revision"):
        pins.pin("pulumi", "3.999.0", root=checkout)
    assert go_mod.read_text() == "require github.com/pulumi/pulumi/sdk/v3 v3.259.0\n"
    assert pins.disagreements(checkout) == []
