"""How images are started whose own start scripts go on after a failed step and keep stop signals to themselves."""

from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent

RUNSERVER_FILE: Final = "/app/runserver.sh"
"""What the entrypoint of Reflector's backend image becomes."""


RENAME_ADMINISTRATOR_FILE: Final = "/app/rename_administrator.py"
"""What that calls on the server."""


WEB_FILE: Final = "/app/web.sh"
WEB_LOG_FILTER_FILE: Final = "/app/log_filter.awk"
"""What that filters the log with."""
WEB_COMMAND: Final = ("node", "server.js")
"""What upstream's frontend image starts (www/Dockerfile, v0.45.0)."""
CACHED_TOKENS: Final = "token:*"
"""Keys under which the web frontend keeps everybody's tokens in Redis (www/app/lib/redisTokenCache.ts, v0.45.0)."""


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _script(name: str) -> str:
    return _text(name).replace("# stopping.sh\n", _text("stopping.sh"))


def runserver() -> str:
    """Return the script that starts a backend role, which it takes from ENTRYPOINT."""
    return _script("runserver.sh")


def rename_administrator() -> str:
    """Return the program that keeps an administrator's account his when his address changes."""
    return _text("rename_administrator.py")


def web() -> str:
    """Return the script that starts the web frontend, which is its arguments."""
    return _text("web.sh")


def web_log_filter() -> str:
    """Return the program that takes tokens out of the web frontend's log."""
    return _text("log_filter.awk")


def hatchet() -> str:
    """Return the script that migrates Hatchet's database, makes what is missing of its configuration, and starts it."""
    return _script("hatchet.sh")
