"""The renewal as a timer of systemd's."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from operations import scheduled
from operations.scheduled import Command, NotScheduled
from operations.stack import Stack

_STOP_SECONDS: Final = 3600
"""Longer than any run of the engine over a few resources; one that hangs must not keep the next from its turn."""
_SYSTEM_FOLDER: Final = Path("/etc/systemd/system")
_SHELL: Final = ("/bin/sh", "-c", 'exec "$@"', "renew")
"""Starts the command: systemd takes no program with quotes or backslashes in its name, nor reads `$$` there."""
_HEADING: Final = "# Written by make schedule; make schedule ARGS=--remove takes it away."


def service_unit(wanted: Command, *, user: str | None = None) -> str:
    """Return the text of the service; `user` is for a unit of the system, which would else run as root."""
    variables = [f"Environment={_quoted(f'{name}={value}')}" for name, value in sorted(wanted.environment.items())]
    online = ["Wants=network-online.target", "After=network-online.target docker.service"] if user else []
    return "\n".join(
        [
            _HEADING,
            "[Unit]",
            f"Description=Renewal of the certificates of Reflector, stack {_plain(wanted.stack)}",
            *online,
            "",
            "[Service]",
            "Type=oneshot",
            *([f"User={user}"] if user else []),
            f"WorkingDirectory={_plain(str(wanted.root))}",
            *variables,
            f"EnvironmentFile=-{_plain(str(wanted.secrets))}",
            f"ExecStart={' '.join(_quoted(word).replace('$', '$$') for word in [*_SHELL, *wanted.arguments])}",
            f"TimeoutStartSec={_STOP_SECONDS}",
            "# The engine then brings what it is at to an end.",
            "KillSignal=SIGINT",
            "",
        ]
    )


def timer_unit(wanted: Command) -> str:
    """Return the text of the timer.

    A run missed while the machine was off is made up when it starts, one missed while it slept when it wakes: calendar
    times are of the wall clock. Nothing is put off by chance (RandomizedDelaySec): a machine that is on for a few
    minutes a day would never get there. A while after each start it runs in any case.
    """
    hour, minute = divmod(wanted.minute_of_the_day, 60)
    return "\n".join(
        [
            _HEADING,
            "[Unit]",
            f"Description=Daily renewal of the certificates of Reflector, stack {_plain(wanted.stack)}",
            "",
            "[Timer]",
            f"OnCalendar=*-*-* {hour:02}:{minute:02}:00",
            "Persistent=true",
            "OnStartupSec=15min",
            "AccuracySec=1min",
            f"Unit={wanted.name}.service",
            "",
            "[Install]",
            "WantedBy=timers.target",
            "",
        ]
    )


def _plain(text: str) -> str:
    """Return a text in which nothing is a specifier."""
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """Return one word of a unit file, in which nothing means something to systemd (systemd.syntax(7))."""
    escaped = _plain(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


@dataclass(frozen=True, kw_only=True)
class Systemd:
    """Where units go, and who is told of them."""

    folder: Path
    user: str | None
    """Whom a unit of the system runs as; None for a user's own units."""
    enable: bool = True
    """Whether systemd is told; not where the files are for somebody else to install."""

    def units(self, wanted: Command) -> dict[Path, str]:
        """Return the files and what is in them."""
        return {
            self.folder / f"{wanted.name}.service": service_unit(wanted, user=self.user),
            self.folder / f"{wanted.name}.timer": timer_unit(wanted),
        }

    def install(self, wanted: Command) -> Iterator[str]:
        """Write the units, only where they differ, have the timer run, and yield what to say.

        Raises: NotScheduled.
        """
        if self.enable:
            _see_that_it_runs()
        changed = [path for path, text in self.units(wanted).items() if scheduled.write(path, text)]
        yield from (f"wrote {path}" for path in changed)
        if not changed:
            yield f"{wanted.name} is as it was"
        if not self.enable:
            return
        timer = f"{wanted.name}.timer"
        self._systemctl("daemon-reload")
        self._systemctl("enable", "--now", timer)
        if changed:  # a timer that runs keeps the times it was started with
            self._systemctl("restart", timer)
        yield from self._systemctl("list-timers", "--all", "--no-pager", timer).splitlines()[:2]
        yield f"Each run: journalctl {'' if self.user else '--user '}--unit {wanted.name}.service"
        if self.user is None and not _lingers():
            yield (
                "Your own units stop when you log out, and start when you log in. To have them run always:"
                " sudo loginctl enable-linger $USER"
            )

    def remove(self, wanted: Command) -> Iterator[str]:
        """Stop the timer and remove the units, and yield what to say.

        Raises: NotScheduled.
        """
        there = [path for path in self.units(wanted) if path.exists()]
        if not there:
            yield f"{wanted.name} is not scheduled"
            return
        if self.enable:
            _see_that_it_runs()
            self._systemctl("disable", "--now", f"{wanted.name}.timer")
        for path in there:
            scheduled.remove(path)
            yield f"removed {path}"
        if self.enable:
            self._systemctl("daemon-reload")

    def _systemctl(self, *arguments: str) -> str:
        scope = ["--user"] if self.user is None else []
        done = subprocess.run(["systemctl", *scope, *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NotScheduled(f"systemctl {' '.join([*scope, *arguments])}: {' '.join(done.stderr.split())}")
        return done.stdout


def systemd(stack: Stack, environ: Mapping[str, str], *, output: Path | None) -> Systemd:
    """Return where units go: root's are the system's, run as the owner of the state; anybody else's are their own."""
    if os.geteuid() == 0:
        return Systemd(folder=output or _SYSTEM_FOLDER, user=_owner(stack), enable=output is None)
    home = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Systemd(folder=output or home / "systemd" / "user", user=None, enable=output is None)


def _owner(stack: Stack) -> str:
    """Return whose the state is, or the checkout while there is none."""
    state = stack.layout.state
    return (state if state.exists() else stack.layout.root).owner()


def _see_that_it_runs() -> None:
    if shutil.which("systemctl") is None or not Path("/run/systemd/system").is_dir():
        raise NotScheduled(
            "no systemd runs on this machine; use ARGS=--cron, ARGS=--github, or ARGS='--output DIR' to install the"
            " units elsewhere"
        )


def _lingers() -> bool:
    """Return whether this user's units run without a session; True where nobody can tell."""
    if shutil.which("loginctl") is None:
        return True
    asked = subprocess.run(
        ["loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value"],
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() == "yes"
