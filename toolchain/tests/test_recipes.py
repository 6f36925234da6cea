"""Recipes: how the parts of the development images are built from package registries."""

import os
import platform
import re
import shlex
import shutil
from pathlib import Path

import pytest

from toolchain import images, recipes, system
from toolchain.layout import ROOT, ToolchainError
from toolchain.pins import Pins
from toolchain.progress import Progress
from toolchain.tests.stand_ins import put


def test_recipes_make_every_part_the_images_need() -> None:
    made = {(name, product) for name, recipe in recipes.RECIPES.items() for product in recipe.products}
    needed = {pair for image in images.IMAGES.values() for pair in image.contents.values()}

    assert needed <= made
    assert {part for part, _ in needed} == set(recipes.RECIPES)


@pytest.mark.parametrize("part", recipes.RECIPES)
def test_inputs_are_stable_and_of_the_part_alone(part: str) -> None:
    assert recipes.inputs(part) == recipes.inputs(part)
    assert len({recipes.inputs(name) for name in recipes.RECIPES}) == len(recipes.RECIPES)


@pytest.mark.parametrize(("part", "file"), [(name, file) for name, r in recipes.RECIPES.items() for file in r.files])
def test_inputs_follow_the_files_a_recipe_reads(
    part: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "images", tmp_path / "images")
    monkeypatch.setattr(recipes, "IMAGES", tmp_path / "images")
    before = {name: recipes.inputs(name) for name in recipes.RECIPES}

    with (tmp_path / "images" / file).open("a") as sink:
        sink.write("# more\n")

    assert {name for name in recipes.RECIPES if recipes.inputs(name) != before[name]} == {part}


@pytest.mark.parametrize(("part", "pin"), [(name, pin) for name, r in recipes.RECIPES.items() for pin in r.pins])
def test_inputs_follow_the_pins_a_recipe_reads(part: str, pin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: recipes.inputs(name) for name in recipes.RECIPES}
    pins = Pins.read()
    pins.data["recipes"][pin] = "moved"
    monkeypatch.setattr(Pins, "read", lambda: pins)

    assert {name for name in recipes.RECIPES if recipes.inputs(name) != before[name]} == {part}


def test_every_pin_of_recipes_is_exact_and_used() -> None:
    pins = Pins.read().data["recipes"]

    assert set(pins) == {pin for recipe in recipes.RECIPES.values() for pin in recipe.pins}
    for name, value in pins.items():
        if name == "debian_image":
            assert re.fullmatch(r"debian:[\w.-]+@sha256:[0-9a-f]{64}", value)
        else:
            assert re.fullmatch(r"\d+(\.\d+)+", value)


def test_the_probe_gets_wheels_for_the_images_and_not_for_this_machine() -> None:
    names = recipes.wheel_platforms("x86_64")

    assert names[0] == "manylinux_2_36_x86_64"
    assert {"manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64"} <= set(names)
    assert not any("2_37" in name for name in names)
    assert recipes.wheel_platforms("arm64") == recipes.wheel_platforms("aarch64")


def test_python_of_the_wheels_is_that_of_the_base_image() -> None:
    script = (ROOT / "images" / "rootfs.sh").read_text()

    assert f"Python ({recipes.PYTHON_VERSION})" in script
    assert "suite=bookworm" in script


RUSTC = "#!/bin/sh\nprintf 'rustc 1.96.0\\nhost: riscv64gc-unknown-linux-gnu\\nrelease: 1.96.0\\n'\n"


def test_a_compiler_that_names_no_host_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "bin" / "rustc", "#!/bin/sh\nexit 1\n", 0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with pytest.raises(ToolchainError, match="names no host"):
        recipes._rust_host()


def test_garage_is_built_by_the_crate_s_own_lock_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLCHAIN_CACHE", str(tmp_path / "cache"))
    log = tmp_path / "log"
    put(
        tmp_path / "bin" / "cargo",
        f"""#!/bin/sh
printf '%s\\n' "$RUSTFLAGS" "$@" > {log}
while [ $# -gt 0 ]; do case $1 in --root) root=$2 ;; --target-dir) target=$2 ;; esac; shift; done
mkdir -p "$root/bin" "$target"
printf built > "$root/bin/garage"
""",
        0o755,
    )
    put(tmp_path / "bin" / "rustc", RUSTC, 0o755)
    put(tmp_path / "bin" / "strip", "#!/bin/sh\nprintf ' stripped' >> \"$1\"\n", 0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    out = tmp_path / "out"
    out.mkdir()

    recipes.build_garage(out)

    flags, *given = log.read_text().splitlines()
    assert flags == "-C target-feature=+crt-static"
    assert given[given.index("--target") + 1] == "riscv64gc-unknown-linux-gnu", "else the flags are for macros as well"
    assert given[:2] == ["install", "garage"]
    assert given[given.index("--version") + 1] == Pins.read().version("garage")
    assert "--locked" in given
    assert "--config=profile.release.opt-level=1" in given
    assert (out / "garage").read_text() == "built stripped"
    assert [path.name for path in out.iterdir()] == ["garage"]
    target = Path(given[given.index("--target-dir") + 1])
    assert target.is_relative_to(tmp_path / "cache"), "an interrupted compilation must outlive the part's work folder"
    assert not target.exists(), "compiled crates are a gigabyte nobody needs afterwards"


FAKE_GO = """#!/bin/sh
echo "$PWD GOOS=$GOOS CGO_ENABLED=$CGO_ENABLED CGO_CFLAGS=$CGO_CFLAGS GOWORK=$GOWORK $*" >> {log}
case $1 in
mod) [ -z "$GO_ERROR" ] || {{ printf '{{"Error": "%s"}}' "$GO_ERROR"; exit 1; }}; printf '{{"Dir": "{module}"}}' ;;
build) while [ "$1" != -o ]; do shift; done; printf program > "$2" ;;
esac
"""


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the log of a Go command that finds every module and builds nothing."""
    put(tmp_path / "module" / "miniaudio.h", "// header")
    log = tmp_path / "go.log"
    put(tmp_path / "bin" / "go", FAKE_GO.format(log=log, module=tmp_path / "module"), 0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("TOOLCHAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GO_ERROR", "")
    return log


@pytest.mark.parametrize("part", ["caddy", "ollama"])
def test_go_programs_are_built_from_their_published_modules(part: str, tmp_path: Path, go: Path) -> None:
    version = Pins.read().version(part)
    module = {"caddy": "github.com/caddyserver/caddy/v2", "ollama": "github.com/ollama/ollama"}[part]

    assert recipes.main([part, str(tmp_path / "out")]) == 0

    assert (tmp_path / "out" / part).read_text() == "program"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [part]
    calls = go.read_text().splitlines()
    assert any(line.startswith("/ ") and line.endswith(f"mod download -json {module}@v{version}") for line in calls)
    build = next(line for line in calls if " build " in line)
    assert f"-C {tmp_path / 'module'} -mod=readonly -trimpath" in build
    assert "GOOS=linux" in build
    assert "GOWORK=off" in build
    assert f"={'v' if part == 'caddy' else ''}{version}" in build
    assert f"CGO_ENABLED={0 if part == 'caddy' else 1}" in build


def test_ollama_is_compiled_with_the_same_flags_after_an_interruption(tmp_path: Path, go: Path) -> None:
    """Go finds what it has compiled only under the same flags, and the flags name the folder of the missing header."""
    recipes.main(["ollama", str(tmp_path / "one")])
    recipes.main(["ollama", str(tmp_path / "two")])

    flags = {
        line.split("CGO_CFLAGS=")[1].split(" GOWORK")[0] for line in go.read_text().splitlines() if " build " in line
    }

    assert len(flags) == 1
    assert str(tmp_path / "cache") in flags.pop()


def test_a_cache_may_have_spaces_in_its_path(tmp_path: Path, go: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go splits the variable at spaces, except between quotes."""
    monkeypatch.setenv("TOOLCHAIN_CACHE", str(tmp_path / "my cache"))

    assert recipes.main(["ollama", str(tmp_path / "out")]) == 0

    (build,) = (line for line in go.read_text().splitlines() if " build " in line)
    flags = shlex.split(build.split("CGO_CFLAGS=")[1].split(" GOWORK")[0])
    assert flags == ["-O2", f"-I{tmp_path}/my cache/build/ollama-{Pins.read().version('ollama')}"]


def test_a_module_that_cannot_be_had_is_named(
    tmp_path: Path, go: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GO_ERROR", "no such version")

    assert recipes.main(["caddy", str(tmp_path / "out")]) == 1

    assert "could not be fetched: no such version" in capsys.readouterr().err


def test_what_the_probe_runs_on_is_for_the_images_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []

    def run(command: list[str], environment: dict[str, str] | None = None) -> None:
        calls.append(list(command))
        put(Path(command[command.index("--target") + 1]) / "bin" / "uvicorn", f"#!{command[0]}\n", 0o755)
        put(Path(command[command.index("--target") + 1]) / "uvicorn" / "__init__.py", "")

    monkeypatch.setattr(recipes, "_run", run)

    recipes.build_probe(tmp_path)

    (command,) = calls
    assert command[1:4] == ["-m", "pip", "install"]
    assert {"--no-deps", "--no-compile", "--only-binary=:all:"} <= set(command)
    assert command[command.index("--python-version") + 1] == "3.11"
    assert command[command.index("--requirement") + 1] == str(ROOT / "images" / "probe" / "requirements.txt")
    assert sum(word.startswith("--platform=") for word in command) > 20
    assert [path.name for path in (tmp_path / "site-packages").iterdir()] == ["uvicorn"], "launchers name this machine"


def test_a_failing_build_says_which_command_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOOLCHAIN_CACHE", str(tmp_path / "cache"))
    put(tmp_path / "bin" / "cargo", "#!/bin/sh\nexit 101\n", 0o755)
    put(tmp_path / "bin" / "rustc", RUSTC, 0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    assert recipes.main(["garage", str(tmp_path / "out")]) == 1

    assert "`cargo install garage" in capfd.readouterr().err


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert recipes.main(["nginx", "/nowhere"]) == 2
    assert "caddy,garage,ollama,rootfs,model,probe" in capsys.readouterr().err


class Apt:
    """Stands in for the package manager."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, debian: bool, met: set[str]) -> None:
        self.installed: list[str] = []
        monkeypatch.setattr(system, "is_root_on_debian", lambda: debian)
        monkeypatch.setattr(recipes.Need, "met", lambda need: need.package in met)
        monkeypatch.setattr(system, "apt_install", lambda packages, why, progress: self.installed.extend(packages))


def test_missing_packages_are_installed_as_root_on_debian(monkeypatch: pytest.MonkeyPatch) -> None:
    apt = Apt(monkeypatch, debian=True, met={"libstb-dev"})

    recipes.prepare("ollama", Progress())

    assert apt.installed == ["build-essential", "nlohmann-json3-dev"]


def test_what_only_shortens_a_build_is_no_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    apt = Apt(monkeypatch, debian=False, met={"build-essential"})
    recipes.prepare("garage", Progress())
    assert apt.installed == []

    apt = Apt(monkeypatch, debian=True, met={"build-essential"})
    recipes.prepare("garage", Progress())
    assert apt.installed == ["libsodium-dev"]


def test_missing_packages_are_named_where_they_cannot_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    Apt(monkeypatch, debian=False, met={"build-essential"})

    with pytest.raises(
        ToolchainError, match=r"ollama .* without .*json\.hpp \(Debian: nlohmann-json3-dev\), .*stb"
    ) as caught:
        recipes.prepare("ollama", Progress())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("part", "missing"), [("garage", "libc.a"), ("ollama", "libc.a"), ("ollama", "libstdc++.a")])
def test_a_static_library_that_is_missing_is_named_before_anything_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, missing: str
) -> None:
    """Debian's compilers bring theirs, other distributions have them in packages of their own."""
    compiler = f'#!/bin/sh\n[ "$1" = "-print-file-name={missing}" ] && echo {missing} || echo "/usr/lib/${{1#*=}}"\n'
    for name in ("cc", "c++", "make", "strip"):
        put(tmp_path / name, compiler, 0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(system, "is_root_on_debian", lambda: False)
    with pytest.raises(ToolchainError, match=rf"{part} .* without {re.escape(missing)} \(Debian: b") as caught:
        recipes.prepare(part, Progress())
    assert str(caught.value).count(".a (") == 1, "the other is there"


@pytest.mark.parametrize(
    ("part", "remedy"),
    [("garage", "pin the sum of its official release"), ("ollama", "let set-up reach its official release")],
)
@pytest.mark.parametrize("system_name", ["linux", "darwin"])
def test_the_release_that_can_be_had_instead_of_a_build_is_named(
    monkeypatch: pytest.MonkeyPatch, part: str, remedy: str, system_name: str
) -> None:
    """Garage's publisher offers no checksums, so reaching its releases is not enough."""
    Apt(monkeypatch, debian=False, met=set())
    monkeypatch.setattr("sys.platform", system_name)
    with pytest.raises(ToolchainError, match=rf"{remedy} \(docs/mirrors-and-air-gap\.md\)"):
        recipes.prepare(part, Progress())


def test_root_file_systems_need_debian_or_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    Apt(monkeypatch, debian=False, met=set())
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ToolchainError, match="no docker command"):
        recipes.prepare("rootfs", Progress())

    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    recipes.prepare("rootfs", Progress())


def test_programs_that_need_a_linux_linker_are_refused_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")

    for name in ("garage", "ollama"):
        message = r"on Linux only: .* copy its cache of parts \(TOOLCHAIN_CACHE\)"
        with pytest.raises(ToolchainError, match=message):
            recipes.prepare(name, Progress())


def test_a_part_made_on_linux_is_found_on_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come from there with the cache; macOS calls the same architecture arm64."""
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    on_linux = recipes.inputs("garage")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert recipes.inputs("garage") == on_linux
