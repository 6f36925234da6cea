"""The Python environments: a lean one the program runs in, and one with the tools for tests and checks.

Each is built in a folder named by a hash of its requirements and then put in place as a whole, so a run that is killed
never leaves half an environment behind the name that everything uses. Two runs at once build it once.

That for tests is put in place by a link. The program's is moved there: `pulumi install` makes and renews an environment
at that name itself, which Python's venv refuses where it finds a link.
"""

import functools
import hashlib
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

from toolchain import system
from toolchain.layout import Layout, ToolchainError
from toolchain.locks import locked
from toolchain.progress import Progress

_DONE = ".complete"


def requirement_files(layout: Layout, dev: bool) -> list[Path]:
    """Return the requirement files an environment is made from, those they include among them."""
    files = [layout.root / "requirements.txt", layout.root / "requirements-aws.txt"]
    if dev:
        files += [layout.root / "images" / "probe" / "requirements.txt", layout.root / "requirements-dev.txt"]
    return files


def ensure(layout: Layout, progress: Progress, *, dev: bool = False) -> Path:
    """Return the runtime environment (with `dev`: the one for tests), building it when it is not there."""
    place = layout.venv_dev if dev else layout.venv
    files = requirement_files(layout, dev)
    for path in files:
        if not path.exists():
            raise ToolchainError(f"{path.relative_to(layout.root)} is missing; a checkout is needed that holds it.")
    digest = hashlib.sha256(f"{sys.version_info[:3]} {sys.base_prefix}".encode())
    for path in files:
        digest.update(path.read_bytes())
    digest.update(Path(__file__).read_bytes())
    kind, title = ("dev", "Python environment for tests") if dev else ("runtime", "Python environment")
    folder = layout.home / "venvs" / f"{kind}-{digest.hexdigest()[:12]}"
    with locked(folder.parent / f"{kind}.lock", title, progress) as descriptor:
        if dev:
            if not (folder / _DONE).exists():
                _build(folder, folder, files, progress, title, descriptor)
            if not place.is_symlink() or place.resolve() != folder.resolve():
                draft = place.with_name(f"{place.name}.{os.getpid()}")
                draft.symlink_to(folder.relative_to(place.parent))
                draft.replace(place)
        elif place.is_symlink() or _made_from(place) != folder.name:
            if _made_from(folder) != folder.name:
                _build(folder, place, files, progress, title, descriptor)
            _move(folder, place)
        for other in folder.parent.glob(f"{kind}-*"):
            if other != folder:
                shutil.rmtree(other)
    return place


def _made_from(folder: Path) -> str:
    """Return the name an environment was built under, empty if it is not whole or not ours."""
    try:
        return (folder / _DONE).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _move(folder: Path, place: Path) -> None:
    """Put an environment where it is used, in the place of whatever was there."""
    if place.is_symlink():  # as an earlier release has left it
        place.unlink()
    elif place.exists():  # of other requirements, or what `pulumi install` has made before there was any
        old = folder.with_name(f"runtime-old-{os.getpid()}")
        place.rename(old)
    folder.rename(place)


def _build(folder: Path, place: Path, files: list[Path], progress: Progress, title: str, lock: int) -> None:
    """Build an environment in `folder` that works at `place`."""
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        if not system.is_root_on_debian():
            raise ToolchainError(
                f"Python {sys.version.split()[0]} at {sys.executable} has no venv module. Install it"
                " (Debian, Ubuntu: apt-get install python3-venv) and run this again."
            )
        system.apt_install(["python3-venv"], "Python's venv module is missing", progress)
    if folder.exists():
        shutil.rmtree(folder)
    with progress.step(title) as step:
        run = functools.partial(system.run, step=step, pass_fds=[lock])
        run([sys.executable, "-m", "venv", str(folder)])
        python = str(folder / "bin" / "python")
        # Every package is pinned, transitive ones too: resolving is left out, and `pip check` proves the set complete.
        # Bytecode is made below for what every run imports; doing it for all of pulumi_aws takes most of a minute.
        install = [python, "-m", "pip", "install", "--no-deps", "--no-compile", "--disable-pip-version-check"]
        for path in files:
            if path.name != "requirements-dev.txt":
                install += ["-r", str(path)]
        if files[-1].name == "requirements-dev.txt":
            install[-2:] = ["-r", str(files[-1])]  # it includes the others by itself
        run(install)
        run([python, "-m", "pip", "check"])
        packages = next((folder / "lib").glob("python3*")) / "site-packages"
        quiet_aws(packages)
        moved = ["-s", str(folder), "-p", str(place)] if folder != place else []
        run([python, "-m", "compileall", "-q", "-j", "2", *moved, "-x", "pulumi_aws", str(packages)])
    for script in (folder / "bin").iterdir() if folder != place and (folder / "bin").is_dir() else ():
        # Each begins with the whole path of its interpreter, which is a link to a program and is left alone.
        if not script.is_symlink() and str(folder).encode() in (content := script.read_bytes()):
            script.write_bytes(content.replace(str(folder).encode(), str(place).encode()))
    (folder / _DONE).write_text(folder.name, encoding="utf-8")


def quiet_aws(packages: Path) -> None:
    """Make an installed pulumi_aws ask for its plugin only when a program registers one of its resources.

    A language host, ours and the official one, reports every installed package whose `pulumi-plugin.json` says
    `"resource": true` as required before the program runs. The engine then tries, before each `up`, to fetch a plugin
    of 700 MB that only stacks on AWS need. With the flag off the package is not reported; registering an AWS
    resource names the plugin and its version all the same (docs/decisions/0001-toolchain-fallback.md).
    """
    marker = packages / "pulumi_aws" / "pulumi-plugin.json"
    if marker.exists():
        content = json.loads(marker.read_text(encoding="utf-8"))
        content["resource"] = False
        marker.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
