"""The renewal as a line of cron's."""

import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence

from operations.scheduled import Command, NotScheduled


def lines(wanted: Command) -> list[str]:
    """Return the lines for a crontab, the first of which marks the other as ours.

    Once an hour: cron makes up for nothing, neither after a start nor after a sleep, and to find that nothing is due
    takes a second. What is printed is mailed by cron, so only failures are; the rest is in the log.
    """
    variables = [f"{name}={value}" for name, value in sorted(wanted.environment.items())]
    secrets = shlex.quote(str(wanted.secrets))
    script = (
        f"cd {shlex.quote(str(wanted.root))} && "
        f"{{ if [ -f {secrets} ]; then set -a; . {secrets}; set +a; fi; "
        f"{shlex.join(['env', *variables, *wanted.arguments])} >/dev/null; }}"
    )
    # A percent sign ends the command there, unless it is escaped.
    return [f"# {wanted.name}", f"{_minute(wanted)} * * * * " + script.replace("%", r"\%")]


def install(wanted: Command) -> Iterator[str]:
    """Put the line into the caller's crontab, and yield what to say.

    Raises: NotScheduled.
    """
    changed = _change(wanted, lines(wanted))
    yield f"wrote the line {wanted.name} of your crontab" if changed else f"{wanted.name} is as it was"
    yield f"Next run: at minute {_minute(wanted)} of this hour or the next, and of every hour then"


def remove(wanted: Command) -> Iterator[str]:
    """Take the line out of the caller's crontab, and yield what to say.

    Raises: NotScheduled.
    """
    changed = _change(wanted, [])
    yield f"removed the line {wanted.name} of your crontab" if changed else f"{wanted.name} is not scheduled"


def _minute(wanted: Command) -> int:
    return wanted.minute_of_the_day % 60


def _change(wanted: Command, ours: Sequence[str]) -> bool:
    """Let the caller's crontab hold these lines of ours, and return whether that changed it."""
    if shutil.which("crontab") is None:
        raise NotScheduled("there is no crontab command on this machine; print the line with ARGS='--cron --dry-run'")
    listed = subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False)
    if listed.returncode != 0 and "no crontab" not in listed.stderr.lower():
        raise NotScheduled(f"crontab -l: {' '.join(listed.stderr.split())}")
    present = listed.stdout.splitlines() if listed.returncode == 0 else []
    wished = [*_without(present, f"# {wanted.name}"), *ours]
    if sorted(wished) == sorted(present):
        return False
    done = subprocess.run(
        ["crontab", "-"], input="".join(f"{line}\n" for line in wished), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise NotScheduled(f"crontab -: {' '.join(done.stderr.split())}")
    return True


def _without(present: Sequence[str], mark: str) -> Iterator[str]:
    """Yield the lines but for `mark` and the one below it."""
    below = False
    for line in present:
        if not below and line != mark:
            yield line
        below = line == mark
