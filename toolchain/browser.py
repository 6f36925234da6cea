"""The browser tests go through the site with: this machine's Chromium, its driver, and a tool for its certificates.

They are Debian's, taken as they are: a browser whose version is pinned would have holes that are known.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from toolchain import system
from toolchain.layout import ToolchainError
from toolchain.progress import Progress

PACKAGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    # Debian package → what it is for, and the programs of which one will do. Ubuntu's packages for a browser are empty
    # and lead to a snap, which cannot be confined to a profile of its own: there Google's browser will do.
    "chromium": ("browser", ("chromium", "google-chrome-stable", "google-chrome", "chrome")),
    "chromium-driver": ("driver", ("chromedriver",)),
    "libnss3-tools": ("certutil", ("certutil",)),
}


def browser_programs() -> dict[str, Path]:
    """Return what a test needs: "browser", "driver" and "certutil" → the program.

    Raises: ToolchainError if one of them is missing, with what to install.
    """
    found = _found()
    if missing := _missing(found):
        raise ToolchainError(_remedy(missing))
    return found


def ensure(progress: Progress) -> None:
    """Install what is missing, as root on Debian; elsewhere say what to install, because only some tests need it."""
    missing = _missing(_found())
    if missing and system.is_root_on_debian():
        if not all(map(system.apt_candidate, missing)):
            system.apt_update(progress)
        available = [package for package in missing if system.apt_candidate(package)]
        if available:
            system.apt_install(available, "a browser for tests", progress)
        missing = _missing(_found())
    if missing:
        progress.say(_remedy(missing))


def installed() -> list[Path]:
    """Return those of the programs that are there."""
    return list(_found().values())


def _found() -> dict[str, Path]:
    result = {}
    for use, names in PACKAGES.values():
        paths = (shutil.which(name) for name in names)
        if path := next((path for path in paths if path is not None), None):
            result[use] = Path(path)
    return result


def _missing(found: Mapping[str, Path]) -> list[str]:
    return [package for package, (use, _) in PACKAGES.items() if use not in found]


def _remedy(missing: list[str]) -> str:
    wanted = "; ".join(f"{' or '.join(PACKAGES[package][1])} (Debian: {package})" for package in missing)
    return (
        f"Tests in a browser cannot run, because not on PATH is: {wanted}. Install it and run `make setup-dev` again."
    )
