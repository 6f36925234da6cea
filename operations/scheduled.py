"""What is scheduled: the command behind `make renew`, and all of the caller's environment it needs.

It is run with the Python of this checkout and without set-up: at night nothing is downloaded or compiled. It needs no
login shell.
"""

import hashlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from operations import renewal
from operations.stack import Stack
from toolchain import local_backend

_CARRIED: Final = (
    "DOCKER_CONFIG",
    "PULUMI_BACKEND_URL",
    "PULUMI_CONFIG_PASSPHRASE_FILE",
    "XDG_CONFIG_HOME",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
"""What of the caller's environment the command is given: where things are. What is secret in it never is."""
_SECRET: Final = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_ACCESS_TOKEN")
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MINUTES_OF_THE_NIGHT: Final = 4 * 60
_FIRST_HOUR: Final = 1


class NotScheduled(RuntimeError):
    """It could not be scheduled; the text is one line, with what to do."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """What is run, and in what."""

    stack: str
    root: Path
    """The checkout."""
    arguments: Sequence[str]
    environment: Mapping[str, str]
    """All there is, but for what the scheduler itself adds (HOME, USER)."""
    secrets: Path
    """A file of further variables, each as NAME=value, that need not be there."""

    @property
    def name(self) -> str:
        """What units and files are called: two checkouts may have a stack of one name."""
        return f"reflector-renew-{self.stack}-{self._digest[:8]}"

    @property
    def minute_of_the_day(self) -> int:
        """When it runs, between 1 and 5 in the morning: always the same, and not that of the next stack."""
        return _FIRST_HOUR * 60 + int(self._digest, 16) % _MINUTES_OF_THE_NIGHT

    @property
    def _digest(self) -> str:
        return hashlib.sha256(f"{self.root}\0{self.stack}".encode()).hexdigest()


def command(stack: Stack, environ: Mapping[str, str], *, at: str | None = None, metrics: Path | None = None) -> Command:
    """Return what is to be scheduled for a stack; `at` and `metrics` are options of the renewal's.

    Raises: NotScheduled for a secret that is only in the caller's environment.
    """
    layout = stack.layout
    root = layout.root.resolve()
    if "\n" in str(root):
        raise NotScheduled(f"the checkout is in {str(root)!r}, and no scheduler takes a path with a line break")
    secrets = renewal.folder_of(stack).resolve() / f"{stack.name}.env"
    own = {local_backend(layout.state), str(layout.passphrase)}  # found by the command itself
    carried = {name: environ[name] for name in _CARRIED if environ.get(name) and environ[name] not in own}
    kept = variables_in(secrets)
    secret = [name for name in _SECRET if environ.get(name)]
    secret += [name for name, value in carried.items() if _has_password(value)]
    for name in secret:
        if name not in kept:
            raise NotScheduled(
                f"{name} is a secret of this shell, and a timer has no shell; put a line {name}=<value> into {secrets},"
                " a file only you can read (chmod 600)"
            )
        carried.pop(name, None)
    file = carried.get("PULUMI_CONFIG_PASSPHRASE_FILE")
    if file:
        carried["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(root / Path(file).expanduser())
    path = [entry for entry in environ.get("PATH", _PATH).split(os.pathsep) if Path(entry).is_absolute()]
    python = str(root / layout.venv.relative_to(layout.root) / "bin" / "python")
    operations = [python, "-m", "operations", "renew", "--stack", stack.name]
    options = [*(["--at", at] if at else []), *(["--metrics", str(metrics.absolute())] if metrics else [])]
    return Command(
        stack=stack.name,
        root=root,
        arguments=[python, "-m", "toolchain", "run", "--", *operations, *options],
        environment={"PATH": os.pathsep.join(dict.fromkeys(path)) or _PATH, **carried},
        secrets=secrets,
    )


def _has_password(value: str) -> bool:
    try:
        return bool(urlsplit(value).password)
    except ValueError:
        return False


def variables_in(file: Path) -> dict[str, str]:
    """Return the variables in a file of lines NAME=value; none of one that is not there.

    Raises: NotScheduled for a file others can read.
    """
    try:
        if file.stat().st_mode & 0o077:
            raise NotScheduled(f"{file} holds secrets and others can read it; chmod 600 {file}")
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise NotScheduled(f"{file} cannot be read: {error.strerror}") from None
    pairs = (line.partition("=") for line in lines if not line.lstrip().startswith(("#", ";")))
    return {name.strip(): value.strip().strip("\"'") for name, equals, value in pairs if equals}


def see_that_it_would_run(wanted: Command) -> None:
    """Run the command as it is scheduled, without the caller's shell, up to where it would change something.

    Raises: NotScheduled with its own words if it could not.
    """
    home = {name: os.environ[name] for name in ("HOME", "USER", "LOGNAME") if name in os.environ}
    try:
        done = subprocess.run(
            [*wanted.arguments, "--dry-run"],
            cwd=wanted.root,
            env={**home, **wanted.environment, **variables_in(wanted.secrets)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise NotScheduled(f"{wanted.arguments[0]} cannot be run: {error.strerror}; make setup") from None
    if done.returncode != 0:
        raise NotScheduled(
            "the command fails where it has no shell of yours:"
            f" {' '.join(done.stderr.split()) or f'status {done.returncode}'} (variables it needs go into"
            f" {wanted.secrets})"
        )


def write(path: Path, text: str) -> bool:
    """Write a file unless it is so already, and return whether it was not.

    Raises: NotScheduled.
    """
    try:
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NotScheduled(f"{path} cannot be written: {error.strerror}") from None
    return True


def remove(path: Path) -> bool:
    """Remove a file and return whether it was there.

    Raises: NotScheduled.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise NotScheduled(f"{path} cannot be removed: {error.strerror}") from None
    return True
