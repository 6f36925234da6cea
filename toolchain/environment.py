"""The environment every Pulumi command of this checkout runs in: one source for env.sh, the Makefile and the tests."""

import contextlib
import json
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from toolchain.layout import Layout

LEAKING = ("DOCKER_CERT_PATH", "DOCKER_CA_MATERIAL", "DOCKER_CERT_MATERIAL", "DOCKER_KEY_MATERIAL")
"""Variables every docker provider would read in silence, whatever host and certificates the stack names."""


SLOWING = ("PYTHONDONTWRITEBYTECODE",)
"""Variables that only cost time: without bytecode every run compiles the whole program anew."""


def values(layout: Layout, environ: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables to set, and with None those to unset, given the caller's own environment.

    A backend, a passphrase or a login of the caller's own is left alone.
    """
    path = [entry for entry in environ.get("PATH", os.defpath).split(os.pathsep) if entry != str(layout.bin)]
    result: dict[str, str | None] = {
        "PATH": os.pathsep.join([str(layout.bin), *path]),
        "PULUMI_HOME": str(layout.pulumi_home),
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    own = local_backend(layout.state)
    if _logged_in_elsewhere(layout.pulumi_home, own):
        if environ.get("PULUMI_BACKEND_URL") == own:  # left from before the login, and it would win over it
            result["PULUMI_BACKEND_URL"] = None
    elif not environ.get("PULUMI_BACKEND_URL") and not environ.get("PULUMI_ACCESS_TOKEN"):
        result["PULUMI_BACKEND_URL"] = own
    if not environ.get("PULUMI_CONFIG_PASSPHRASE") and not environ.get("PULUMI_CONFIG_PASSPHRASE_FILE"):
        result["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(layout.passphrase)
    for name in (*LEAKING, *SLOWING):
        if name in environ:
            result[name] = None
    return result


def local_backend(state: Path) -> str:
    """Return the backend URL of a state folder; a URL gives three characters a path may hold a meaning of their own."""
    return "file://" + re.sub("[%#?]", lambda found: f"%{ord(found[0]):02X}", str(state))


def _logged_in_elsewhere(pulumi_home: Path, own: str) -> bool:
    try:
        current = json.loads((pulumi_home / "credentials.json").read_text(encoding="utf-8")).get("current")
    except (FileNotFoundError, json.JSONDecodeError, AttributeError):
        return False
    return bool(current) and current != own


def script(layout: Layout, settings: Mapping[str, str | None]) -> str:
    """Return `settings` as lines a POSIX shell can evaluate, whatever the values hold.

    PATH is extended, not replaced: what this process sees may have been changed on the way to it (pyenv does so).
    """
    lines = [
        f"_toolchain_bin={shlex.quote(str(layout.bin))}",
        'case ":$PATH:" in ":$_toolchain_bin:"*) ;; *) PATH="$_toolchain_bin:$PATH" ;; esac',
        "export PATH",
        "unset _toolchain_bin",
    ]
    for name, value in settings.items():
        if name != "PATH":
            lines.append(f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}")
    return "\n".join(lines) + "\n"


def pulumi_environment(layout: Layout, environ: Mapping[str, str]) -> dict[str, str]:
    """Return a whole environment for a command: the caller's own, with `values` laid over it."""
    result = dict(environ)
    for name, value in values(layout, environ).items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = value
    return result


def _keep_no_engine_logs(layout: Layout) -> None:
    """Put a file where the engine would make a folder for the log of each run.

    It has no switch for them. They hold every value a provider is given, take a seventh of a run without changes, and
    grow to 500 MB; what somebody wants to see, `pulumi --logtostderr -v=9` shows. To the engine a folder that cannot be
    made is no mistake.
    """
    if layout.engine_logs.is_dir():
        import shutil  # once at the most

        shutil.rmtree(layout.engine_logs)
    layout.pulumi_home.mkdir(parents=True, exist_ok=True)
    layout.engine_logs.touch()


def prepare_state(layout: Layout) -> None:
    """Make the state folder and, once, the passphrase: 32 random bytes that only this user can read.

    Without the passphrase the secrets in the state are lost, so it is never written again once it is there.
    """
    layout.state.mkdir(parents=True, exist_ok=True)
    _keep_no_engine_logs(layout)
    if layout.passphrase.exists():
        return
    import secrets  # needed once, and as slow to import as all the others here together

    draft = layout.passphrase.with_name(f"passphrase.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as sink:
            sink.write(secrets.token_urlsafe(32) + "\n")
            sink.flush()
            os.fsync(sink.fileno())
        # A link appears whole or not at all, and never takes the place of a passphrase another run has made.
        with contextlib.suppress(FileExistsError):
            os.link(draft, layout.passphrase)
    finally:
        draft.unlink()
