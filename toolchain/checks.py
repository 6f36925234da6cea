"""The checks of `make check` that need more than one call: the Go modules, the shell scripts, the Caddyfiles."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from toolchain import compilers, system
from toolchain.layout import Layout, ToolchainError
from toolchain.parts import Workshop
from toolchain.pins import Pins
from toolchain.progress import Progress
from toolchain.setup import Catalogue


def go(layout: Layout, progress: Progress) -> int:
    """Check format, vet and run the tests of all Go code below `toolchain/go`; return 1 when there are findings."""
    compilers.ensure_go(Pins.read(layout.root), progress)
    top = layout.root / "toolchain" / "go"
    failed = []
    if shutil.which("gofmt") is None:
        raise ToolchainError("gofmt is not on PATH: install it (it is a part of Go) and run this again.")
    # What is not formatted is on its output; its status tells only whether it could read all files.
    gofmt = subprocess.run(["gofmt", "-l", str(top)], stdout=subprocess.PIPE, text=True, check=False)
    if gofmt.stdout or gofmt.returncode:
        print("not formatted (gofmt -w), or unreadable:\n" + gofmt.stdout, end="")
        failed.append("gofmt")
    # Compiling the bridges takes minutes on a cold cache: the step says that it is still at it.
    with progress.step("go vet and go test") as step:
        command = [sys.executable, str(top / "build.py"), "--check"]
        if system.run(command, step=step, cwd=layout.root, check=False, echo=True):
            failed.append("go vet or go test")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def shell(layout: Layout, progress: Progress) -> int:
    """Run shellcheck on every shell script of the repository; return its exit status."""
    if shutil.which("shellcheck") is None:
        if not system.is_root_on_debian():
            raise ToolchainError("shellcheck is not on PATH: install it (package shellcheck) and run this again.")
        system.apt_install(["shellcheck"], "to check the shell scripts", progress)
    scripts = shell_scripts(layout.root)
    status = subprocess.run(["shellcheck", *scripts], cwd=layout.root, check=False).returncode
    if status == 0:
        print(f"shellcheck: {len(scripts)} scripts, no findings")
    return status


def obtain_caddy(layout: Layout, progress: Progress) -> Path:
    """Return the pinned Caddy, obtained as for its image, for a test that asks it about what is rendered for it."""
    catalogue = Catalogue(layout, Pins.read(layout.root))
    catalogue.container = catalogue.host  # it runs here
    part = catalogue.image_part("caddy")
    if catalogue.host[0] != "linux":
        part = replace(part, build=None)  # the registry build is for the images, which run on Linux
    shop = Workshop(progress, logs=layout.logs)
    found = shop.obtain(part)
    shop.tidy()
    return found.main


def shell_scripts(root: Path) -> Sequence[str]:
    """Return every shell script git knows of or would add: by its ending, or by its first line."""
    listed = system.output(["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard"])
    scripts = []
    for name in sorted(set(listed.split("\n"))):
        path = root / name
        if not path.is_file():
            continue
        with path.open("rb") as source:
            first = source.readline(100)
        if name.endswith(".sh") or (first.startswith(b"#!") and first.split(b"/")[-1].split()[-1] in (b"sh", b"bash")):
            scripts.append(name)
    return scripts
