"""What set-up consists of: which parts there are, in which order they are made, and where they are put."""

import functools
import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from toolchain import browser, compilers, environment, images, recipes, releases, stamps, system, venvs
from toolchain.layout import Layout, ToolchainError, cache_root
from toolchain.parts import INSTALLED, Obtained, Part, Workshop, tree_hash
from toolchain.pins import PLUGINS, Pins
from toolchain.progress import Progress

PROGRAMS = ("caddy", "garage", "ollama")
"""Parts that go into images; they are put into `.toolchain/bin` as well, for checks on this machine."""

REQUIRED_PLUGINS = tuple(name for name in PLUGINS if name != "aws")


def platform_name(platform: tuple[str, str]) -> str:
    """Return a platform as one word, for example "linux-amd64"."""
    return "-".join(platform)


# --- The parts ------------------------------------------------------------------------------------------------------


class Catalogue:
    """Every part this project uses, for one checkout and one machine."""

    def __init__(self, layout: Layout, pins: Pins) -> None:
        self.layout = layout
        self.pins = pins
        self.host = system.host_platform()
        # Images run on Linux, whatever the machine is (on macOS: in Docker's virtual machine of the same architecture).
        self.container = ("linux", self.host[1])
        self._go_inputs: dict[str, str] = {}

    def engine(self) -> Part:
        """Return the Pulumi CLI."""
        version = self.pins.version("pulumi")
        return Part(
            name="engine",
            version=version,
            files=("pulumi",),
            platform=platform_name(self.host),
            find_installed=lambda: self._installed_pulumi(("pulumi",)),
            release=lambda: releases.describe(self.pins, "pulumi", None, self.host, {"pulumi/pulumi": "pulumi"}),
            build=self._go_build("engine"),
            prepare_build=self._go,
            inputs=lambda: self._go_hash("engine"),
        )

    def language(self) -> Part:
        """Return the Python language host; official releases carry it in the CLI's archive."""
        names = ("pulumi-language-python", "pulumi-language-python-exec", "pulumi-resource-pulumi-python")
        return Part(
            name="language",
            version=self.pins.version("pulumi"),
            files=names,
            platform=platform_name(self.host),
            find_installed=lambda: self._installed_pulumi(names),
            release=lambda: releases.describe(
                self.pins, "pulumi", None, self.host, {f"pulumi/{name}": name for name in names}
            ),
            build=self._go_build("language"),
            prepare_build=self._go,
            inputs=lambda: self._go_hash("language"),
        )

    def plugin(self, name: str) -> Part:
        """Return a provider plugin; the registry build is one binary that serves all but aws."""
        program = f"pulumi-resource-{name}"
        version = self.pins.version(name)
        shared = Part(
            name="plugins",
            version="",  # it answers to several, which are among its inputs
            files=("pulumi-resource",),
            platform=platform_name(self.host),
            build=self._go_build("plugins"),
            prepare_build=self._go,
            inputs=lambda: self._go_hash("plugins"),
        )
        return Part(
            name=name,
            version=version,
            files=(program,),
            platform=platform_name(self.host),
            find_installed=lambda: self._installed_plugin(name, version),
            release=lambda: releases.describe(self.pins, "plugin", name, self.host, {program: program}),
            shared=shared if name in REQUIRED_PLUGINS else None,
        )

    def image_part(self, name: str) -> Part:
        """Return what one or more images are made from: a program, root file systems, or files from PyPI."""
        recipe = recipes.RECIPES[name]
        platform = platform_name(self.container)
        program = name in PROGRAMS
        version = self.pins.version(name) if program else ""
        layouts = {
            "caddy": {"caddy": "caddy"},
            "garage": {"garage": "garage"},
            # Its processor backends are libraries of their own in the release; those for GPUs stay in the archive.
            "ollama": {"bin/ollama": "ollama", "lib/ollama/libggml-*": "lib/ollama/"},
        }

        def release() -> releases.Release:
            return releases.describe(self.pins, name, None, self.container, layouts[name])

        def prepare(progress: Progress) -> None:
            recipes.prepare(name, progress)
            if recipe.compiler == "go":
                compilers.ensure_go(self.pins, progress)
            elif recipe.compiler == "rust":
                compilers.ensure_rust(self.pins, progress)

        return Part(
            name=name,
            version=version,
            files=recipe.products,
            platform=platform,
            find_installed=(lambda: self._installed_program(name, version)) if program else lambda: None,
            release=release if program else None,
            build=lambda folder: [sys.executable, "-m", "toolchain.recipes", name, str(folder)],
            prepare_build=prepare,
            inputs=lambda: recipes.inputs(name),
        )

    def _installed_program(self, name: str, version: str) -> dict[str, Path] | None:
        program = system.find_program(name, outside=[self.layout.home, cache_root()])
        # What goes into an image must run on Linux, and an Ollama with libraries beside it cannot be taken apart.
        if program is None or self.host != self.container or name == "ollama":
            return None
        said = system.output([str(program), "version" if name == "caddy" else "--version"])
        found = re.search(r"v?(\d+\.\d+\.\d+)", said)
        return {name: program} if found is not None and found.group(1) == version else None

    def _installed_pulumi(self, names: Sequence[str]) -> dict[str, Path] | None:
        program = system.find_program("pulumi", outside=[self.layout.home, cache_root()])
        if program is None or any(not (program.parent / name).exists() for name in names):
            return None
        if system.output([str(program), "version"]).strip() != f"v{self.pins.version('pulumi')}":
            return None
        return {name: program.parent / name for name in names}

    def _installed_plugin(self, name: str, version: str) -> dict[str, Path] | None:
        # A shell that has sourced env.sh has our own folder in PULUMI_HOME; what lies there is not the user's.
        homes = {Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi"), Path.home() / ".pulumi"}
        for home in sorted(homes - {self.layout.pulumi_home}):
            folder = home / "plugins" / f"resource-{name}-v{version}"
            program = folder / f"pulumi-resource-{name}"
            # Pulumi marks a plugin it has not finished installing by a file beside the folder.
            if program.exists() and not folder.with_name(f"{folder.name}.partial").exists():
                return {program.name: program}
        return None

    def _go(self, progress: Progress) -> None:
        compilers.ensure_go(self.pins, progress)

    def _go_build(self, part: str) -> Callable[[Path], Sequence[str]]:
        script = self.layout.root / "toolchain" / "go" / "build.py"
        return lambda folder: [sys.executable, str(script), part, str(folder)]

    def _go_hash(self, part: str) -> str:
        if part not in self._go_inputs:
            script = self.layout.root / "toolchain" / "go" / "build.py"
            listed = system.output([sys.executable, str(script), "--inputs", part])
            if not listed:
                raise ToolchainError(f"`{sys.executable} {script} --inputs {part}` lists no input files.")
            versions = self.layout.root / "toolchain" / "versions.toml"
            files = [self.layout.root / line for line in listed.split("\n") if line]
            # Of the pinned set only the plugins' own versions get into a binary; moving any other pin builds nothing.
            stamped = [self.pins.version(name) for name in REQUIRED_PLUGINS] if versions in files else []
            wanted = [path for path in files if path != versions]
            self._go_inputs[part] = tree_hash(self.layout.root, wanted, part, *stamped)
        return self._go_inputs[part]


# --- Set-up ---------------------------------------------------------------------------------------------------------


def setup(
    layout: Layout,
    progress: Progress,
    *,
    base: bool = True,
    dev: bool = False,
    with_aws: bool = False,
    with_images: bool = False,
) -> None:
    """Obtain the engine, the plugins and the Python environment, and put them into the checkout.

    Without `base` only what else is asked for: with `dev` the environment for tests, with `with_aws` the aws plugin,
    with `with_images` the image contexts. What does not depend on each other runs side by side.
    """
    pins = Pins.read(layout.root)
    shop = Workshop(progress, logs=layout.logs)
    catalogue = Catalogue(layout, pins)
    environment.prepare_state(layout)
    image_fingerprint = stamps.image_fingerprint(layout)
    main_fingerprint, test_fingerprint = stamps.setup_fingerprint(layout), stamps.dev_fingerprint(layout)
    main_due = base and not stamps.current(layout, "setup", main_fingerprint)
    dev_due = dev and not stamps.current(layout, "dev", test_fingerprint)
    aws_due = with_aws and not stamps.current(layout, "aws", main_fingerprint)
    images_due = with_images and not stamps.current(layout, "images", image_fingerprint)
    obtained: dict[str, Obtained] = {}

    def take(part: Part) -> Callable[[], None]:
        def work() -> None:
            obtained[part.name] = shop.obtain(part)

        return work

    # The Go builds share compiled packages and would compile them twice side by side, so they are one lane.
    go_parts: list[Part] = []
    other_parts: list[Part] = []
    if main_due:
        go_parts += (catalogue.engine(), *map(catalogue.plugin, REQUIRED_PLUGINS), catalogue.language())
    if aws_due:
        go_parts.append(catalogue.plugin("aws"))
    if images_due:
        go_parts += map(catalogue.image_part, ("caddy", "ollama"))
        other_parts += map(catalogue.image_part, ("rootfs", "model", "probe", "garage"))
    for part in (*go_parts, *other_parts):
        shop.prepare(part)
    environments: list[Callable[[], object]] = [
        functools.partial(venvs.ensure, layout, progress, dev=for_tests)
        for for_tests, due in ((False, main_due), (True, dev_due))
        if due
    ]
    if dev_due:
        environments.append(functools.partial(browser.ensure, progress))
    run_lanes([[*map(take, go_parts)], [*environments, *map(take, other_parts)]], progress)
    shop.tidy()
    if obtained:
        install(layout, (part for part in obtained.values() if part.name in PROGRAMS))
        products = install(layout, (part for part in obtained.values() if part.name not in recipes.RECIPES))
        record(layout, obtained.values())
        if main_due:
            python = layout.venv / "bin" / "python"
            stamps.write(layout, "setup", main_fingerprint, [*map(str, products), str(python), str(layout.passphrase)])
        if aws_due:
            plugin = (str(path) for path in products if path.name == "pulumi-resource-aws")
            stamps.write(layout, "aws", main_fingerprint, plugin)
    if dev and layout.venv_dev.exists():
        tools = [layout.venv_dev / "bin" / "python", *browser.installed()]
        stamps.write(layout, "dev", test_fingerprint, map(str, tools))
    if images_due:
        stage(layout, progress, {name: obtained[name] for name in recipes.RECIPES})
        stamps.write(layout, "images", image_fingerprint, [str(layout.images / "manifest.json")])


def stage(layout: Layout, progress: Progress, parts: Mapping[str, Obtained]) -> None:
    """Lay out the build contexts of the development images."""
    with progress.step("images: staging the build contexts"):
        images.stage({name: part.files for name, part in parts.items()}, layout.images)


def run_lanes(lanes: Sequence[Sequence[Callable[[], object]]], progress: Progress) -> None:
    """Run every lane's tasks in order, the lanes side by side; after a failure no further task is begun."""
    errors: list[BaseException] = []
    ended: list[int] = []

    def work(tasks: Sequence[Callable[[], object]]) -> None:
        for task in tasks:
            if errors:
                return
            try:
                task()
            except BaseException as error:  # noqa: BLE001 - carried to the caller's thread, where it is raised
                if not errors and len(ended) < len(threads) - 1:
                    first = str(error).split("\n")[0]
                    progress.say(f"Failed: {first} (what is already running is finished and kept)")
                errors.append(error)
        ended.append(len(tasks))

    threads = [threading.Thread(target=work, args=(tasks,), daemon=True) for tasks in lanes if tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def install(layout: Layout, parts: Iterable[Obtained]) -> list[Path]:
    """Put obtained parts where the engine looks for them, and return every path that was put there."""
    placed = []
    for part in parts:
        # Ollama's release has libraries in lib/ollama beside bin, and would take those of another version as well.
        shutil.rmtree(layout.home / "lib" / part.name, ignore_errors=True)
        for name, path in part.files.items():
            placed.append(target(layout, part, name))
            # The engine looks for its language host beside its own real path, and the cache may be deleted: what came
            # from there must be here itself. What the user installed stays where it is.
            _place(Path(path), placed[-1], link=part.origin == INSTALLED)
    return placed


def target(layout: Layout, part: Obtained, name: str) -> Path:
    """Return where `install` puts the file `name` of a part."""
    if name.startswith("lib/"):
        return layout.home / name
    return (layout.plugins / f"resource-{part.name}-v{part.version}" if part.name in PLUGINS else layout.bin) / name


def _place(source: Path, target: Path, *, link: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    if link:
        draft.symlink_to(source)
    else:
        try:
            os.link(source.resolve(), draft)
        except OSError:  # another file system, or one without hard links
            shutil.copy2(source, draft)
    draft.replace(target)
    if draft.exists():  # rename does nothing when both names already are the same file
        draft.unlink()


def record(layout: Layout, parts: Iterable[Obtained]) -> None:
    """Note for `doctor` where the parts came from."""
    known = recorded(layout)
    known.update({part.name: part for part in parts})
    layout.home.mkdir(parents=True, exist_ok=True)
    draft = layout.installed.with_name(f"{layout.installed.name}.{os.getpid()}")
    draft.write_text(
        json.dumps({name: asdict(part) for name, part in sorted(known.items())}, indent=1), encoding="utf-8"
    )
    draft.replace(layout.installed)


def recorded(layout: Layout) -> dict[str, Obtained]:
    """Return what `record` noted: part → where it came from."""
    try:
        content = json.loads(layout.installed.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {name: Obtained(**fields) for name, fields in content.items()}
