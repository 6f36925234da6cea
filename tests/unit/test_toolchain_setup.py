"""Putting parts in place, knowing that nothing is to be done, doctor and clean."""

import io
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from toolchain import cli, compilers, daemon, doctor, recipes, setup, stamps, system, venvs
from toolchain.layout import ROOT, Layout, ToolchainError
from toolchain.parts import INSTALLED, REGISTRY, RELEASE, Obtained, Workshop
from toolchain.pins import Pins
from toolchain.progress import Progress


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    (tmp_path / "toolchain").mkdir()
    shutil.copy(ROOT / "toolchain" / "versions.toml", tmp_path / "toolchain")
    return Layout(tmp_path)


def obtained(folder: Path, name: str, version: str, *files: str, origin: str = REGISTRY) -> Obtained:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(f"{name} {version}")
        (folder / file).chmod(0o755)
    return Obtained(
        name=name,
        version=version,
        origin=origin,
        files={file: str(folder / file) for file in files},
        sha256="ab" * 32,
        key="" if origin == INSTALLED else "k",
    )


# --- Installing -------------------------------------------------------------------------------------------------------


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


# --- Finding what is installed ----------------------------------------------------------------------------------------


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


# --- Lanes ------------------------------------------------------------------------------------------------------------


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


# --- Stamps -----------------------------------------------------------------------------------------------------------


def test_a_stamp_holds_until_an_input_or_a_product_changes(layout: Layout, tmp_path: Path) -> None:
    product = tmp_path / "product"
    product.write_text("1")
    before = stamps.setup_fingerprint(layout)
    assert not stamps.current(layout, "setup", before)
    stamps.write(layout, "setup", before, [str(product)])
    assert stamps.current(layout, "setup", before)
    assert stamps.setup_fingerprint(layout) == before
    (layout.root / "toolchain" / "new.py").write_text("x")
    assert stamps.setup_fingerprint(layout) != before
    assert not stamps.current(layout, "setup", stamps.setup_fingerprint(layout))
    product.write_text("22")
    assert not stamps.current(layout, "setup", before)
    product.unlink()
    assert not stamps.current(layout, "setup", before)


def test_bytecode_and_settings(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stamps.setup_fingerprint(layout)
    (layout.root / "toolchain" / "__pycache__").mkdir()
    (layout.root / "toolchain" / "__pycache__" / "a.pyc").write_text("x")
    assert stamps.setup_fingerprint(layout) == before
    monkeypatch.setenv("TOOLCHAIN_ORIGINS", "release")
    assert stamps.setup_fingerprint(layout) != before


def test_nothing_to_do_takes_a_moment(layout: Layout, tmp_path: Path) -> None:
    """The same package, in a checkout whose set-up is over, as a process of its own: no step runs."""
    # Not the caches other tools keep below it while they run beside the tests.
    unwanted = shutil.ignore_patterns("__pycache__", ".*", "build")
    shutil.copytree(ROOT / "toolchain", tmp_path / "toolchain", dirs_exist_ok=True, ignore=unwanted)
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from toolchain import stamps; from toolchain.layout import Layout\n"
        "layout = Layout(); layout.home.mkdir(exist_ok=True); layout.passphrase.touch()\n"
        "stamps.write(layout, 'setup', stamps.setup_fingerprint(layout), [str(layout.passphrase)])\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    command = [sys.executable, "-m", "toolchain", "setup"]
    seconds = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Processor time: it holds on a machine that builds something else meanwhile.
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.stdout + done.stderr == ""
    assert min(seconds) < 0.3, seconds
    shown = subprocess.run(
        [*command[:1], "-X", "importtime", *command[1:]], cwd=tmp_path, capture_output=True, text=True
    )
    imported = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}
    assert "toolchain.stamps" in imported
    assert not imported & {"subprocess", "urllib.request", "tomllib", "toolchain.setup"}


# --- What a stack needs -----------------------------------------------------------------------------------------------


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


# --- Doctor and clean -------------------------------------------------------------------------------------------------


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
    assert "official release" in lines["language"]
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


# --- Python environments ----------------------------------------------------------------------------------------------


def test_aws_is_not_asked_for_until_a_resource_of_it_is_registered(tmp_path: Path) -> None:
    marker = tmp_path / "pulumi_aws" / "pulumi-plugin.json"
    marker.parent.mkdir()
    marker.write_text('{"resource": true, "name": "aws", "version": "7.51.1"}')
    venvs.quiet_aws(tmp_path)
    assert json.loads(marker.read_text()) == {"resource": False, "name": "aws", "version": "7.51.1"}


def test_the_installed_environment_is_quiet_about_aws_alone() -> None:
    """Of the environment these tests run in: made by set-up, with every SDK the program imports."""
    import pulumi_aws
    import pulumi_docker

    flags = {
        module.__name__: json.loads((Path(str(module.__file__)).parent / "pulumi-plugin.json").read_text())["resource"]
        for module in (pulumi_aws, pulumi_docker)
    }
    assert flags == {"pulumi_aws": False, "pulumi_docker": True}


def test_an_environment_appears_whole_or_not_at_all(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    (layout.root / "requirements.txt").write_text("a==1\n")
    steps: list[list[str]] = []
    broken = True

    def run(command: list[str], **_: object) -> int:
        steps.append(command)
        if command[1:3] == ["-m", "venv"]:
            (Path(command[3]) / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
        elif broken and "install" in command:
            raise ToolchainError("no index")
        return 0

    monkeypatch.setattr(system, "run", run)
    with pytest.raises(ToolchainError, match="no index"):
        venvs.ensure(layout, Progress(io.StringIO()))
    assert not layout.venv.exists()
    broken = False
    assert venvs.ensure(layout, Progress(io.StringIO())) == layout.venv
    first = layout.venv.resolve()
    steps.clear()
    venvs.ensure(layout, Progress(io.StringIO()))
    assert steps == []
    (layout.root / "requirements.txt").write_text("a==2\n")
    venvs.ensure(layout, Progress(io.StringIO()))
    assert layout.venv.resolve() != first
    assert not first.exists()
    assert any("check" in step for step in steps), "a set of pins that does not hold together must not pass"


def test_two_runs_at_once_make_an_environment_once(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    (layout.root / "requirements.txt").write_text("a==1\n")
    begun, go_on = threading.Event(), threading.Event()
    made: list[str] = []
    held: list[object] = []

    def run(command: list[str], **options: object) -> int:
        held.append(options["pass_fds"])
        if command[1:3] == ["-m", "venv"]:
            made.append(command[3])
            (Path(command[3]) / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
            begun.set()
            assert go_on.wait(10)
        return 0

    class Log(io.StringIO):
        def write(self, text: str) -> int:
            if "waiting for another set-up" in text:
                go_on.set()
            return super().write(text)

    monkeypatch.setattr(system, "run", run)
    first = threading.Thread(target=venvs.ensure, args=(layout, Progress(io.StringIO())))
    first.start()
    assert begun.wait(10)
    assert venvs.ensure(layout, Progress(Log())) == layout.venv
    first.join()
    assert made == [str(layout.venv.resolve())]
    assert held
    assert all(held), "what outlives a killed run must hold the lock too"
