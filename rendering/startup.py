"""How images are started whose own start scripts go on after a failed step and keep stop signals to themselves."""

from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent

RUNSERVER_FILE: Final = "/app/runserver.sh"
"""What the entrypoint of Reflector's backend image becomes."""


def runserver() -> str:
    """Return the script that starts a backend role, which it takes from ENTRYPOINT."""
    return (_FOLDER / "runserver.sh").read_text(encoding="utf-8")


def hatchet() -> str:
    """Return the script that migrates Hatchet's database, makes what is missing of its configuration, and starts it."""
    return (_FOLDER / "hatchet.sh").read_text(encoding="utf-8")
