"""Where things are: the checkout, what set-up puts into it, and the cache of parts outside it."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""


class ToolchainError(Exception):
    """Something the person running set-up can do something about; its text is the whole message."""


class Layout:
    """Paths below one checkout.

    A class rather than constants, so that tests work on a checkout of their own.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self.home = root / ".toolchain"
        self.bin = self.home / "bin"
        self.pulumi_home = self.home / "pulumi"
        self.plugins = self.pulumi_home / "plugins"
        self.engine_logs = self.pulumi_home / "logs"
        self.venv = self.home / "venv"
        self.venv_dev = self.home / "venv-dev"
        self.state = self.home / "state"
        self.passphrase = self.home / "passphrase"
        self.renewal = self.home / "renewal"  # what a timer's runs leave, and the secrets they are given
        self.images = self.home / "images"
        self.installed = self.home / "installed.json"
        self.stamps = self.home / "stamps"
        self.logs = self.home / "logs"


CACHE_FOLDERS = ("build", "downloads", "go", "locks", "parts", "rust", "work")
"""What set-up makes in the cache. The folder is one the user may have named, so nothing else in it is ours."""


def cache_root() -> Path:
    """Return the folder of the parts cache: `TOOLCHAIN_CACHE`, else the user's cache folder.

    The cache holds whole, verified parts under a hash of what they are made from; CI and mirrors can keep it.
    """
    moved = os.environ.get("TOOLCHAIN_CACHE")
    if moved:
        return Path(moved).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "reflector-pulumi"
