"""The renewal as something this machine does by itself, or GitHub does."""

import os
import sys
from pathlib import Path

from operations import cron, scheduled, systemd, workflow
from operations.scheduled import NotScheduled
from operations.stack import Stack


def schedule(
    stack: Stack,
    *,
    way: str = "systemd",
    at: str | None = None,
    metrics: Path | None = None,
    output: Path | None = None,
    dry_run: bool = False,
    remove: bool = False,
) -> int:
    """Schedule the renewal of a stack by `systemd`, `cron` or `github`, or take that back, and say what was done."""
    try:
        wanted = scheduled.command(stack, os.environ, at=at, metrics=metrics)
        units = systemd.systemd(stack, os.environ, output=output)
        if dry_run:
            match way:
                case "systemd":
                    print("\n".join(f"# {path}\n{text}" for path, text in units.units(wanted).items()), end="")
                case "cron":
                    print("\n".join(cron.lines(wanted)))
                case _:
                    print(workflow.text(wanted, at=at), end="")
            return 0
        if not remove and way != "github":
            scheduled.see_that_it_would_run(wanted)
        match way:
            case "systemd":
                said = units.remove(wanted) if remove else units.install(wanted)
            case "cron":
                said = cron.remove(wanted) if remove else cron.install(wanted)
            case _:
                said = workflow.remove(wanted) if remove else workflow.install(stack, wanted, at=at)
        for line in said:
            print(line)
    except NotScheduled as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
