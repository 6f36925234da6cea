"""The renewal as a workflow of GitHub's."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from operations import scheduled
from operations.scheduled import Command, NotScheduled
from operations.stack import Stack

# Those of this project's own workflows.
_CHECKOUT_ACTION: Final = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1"
_CACHE_ACTION: Final = "actions/cache@27d5ce7f107fe9357f9df03efb73ab90386fccae # v5.0.5"


def text(wanted: Command, *, at: str | None = None) -> str:
    """Return the text of a workflow that renews every day."""
    hour, minute = divmod(wanted.minute_of_the_day, 60)
    arguments = f" ARGS={shlex.quote(f'--at {at}')}" if at else ""
    return f"""\
# Written by make schedule ARGS=--github: the renewal of the stack {wanted.stack}, every day (times are UTC).
# Secrets of the repository: PULUMI_BACKEND_URL, PULUMI_CONFIG_PASSPHRASE or PULUMI_ACCESS_TOKEN; SSH_PRIVATE_KEY and
# SSH_KNOWN_HOSTS for a Docker host reached by ssh://. GitHub ends schedules of a public repository after 60 days
# without a commit, and says so by e-mail only.
name: Renew certificates of {wanted.stack}

on:
  schedule:
    - cron: "{minute} {hour} * * *"
  workflow_dispatch:

permissions: {{}}

concurrency:
  group: deploy-{wanted.stack}
  cancel-in-progress: false

jobs:
  renew:
    name: make renew
    runs-on: ubuntu-24.04
    timeout-minutes: 60
    permissions:
      contents: read
    steps:
      - uses: {_CHECKOUT_ACTION}
        with:
          persist-credentials: false
      - uses: {_CACHE_ACTION}
        with:
          path: ~/.cache/reflector-pulumi
          key: renew-${{{{ runner.os }}}}-${{{{ runner.arch }}}}-${{{{ hashFiles('toolchain/**') }}}}
          restore-keys: renew-${{{{ runner.os }}}}-${{{{ runner.arch }}}}-
      - name: Renew what is due
        env:
          PULUMI_BACKEND_URL: ${{{{ secrets.PULUMI_BACKEND_URL }}}}
          PASSPHRASE: ${{{{ secrets.PULUMI_CONFIG_PASSPHRASE }}}}
          TOKEN: ${{{{ secrets.PULUMI_ACCESS_TOKEN }}}}
          SSH_PRIVATE_KEY: ${{{{ secrets.SSH_PRIVATE_KEY }}}}
          SSH_KNOWN_HOSTS: ${{{{ secrets.SSH_KNOWN_HOSTS }}}}
        run: |
          if [ -n "$SSH_PRIVATE_KEY" ]; then
            install -d -m 0700 ~/.ssh
            (umask 077 && printf '%s\\n' "$SSH_PRIVATE_KEY" > ~/.ssh/id_renewal)
            printf '%s\\n' "$SSH_KNOWN_HOSTS" >> ~/.ssh/known_hosts
            printf 'Host *\\n  IdentityFile ~/.ssh/id_renewal\\n' >> ~/.ssh/config
          fi
          if [ -n "$PASSPHRASE" ]; then export PULUMI_CONFIG_PASSPHRASE="$PASSPHRASE"; fi
          if [ -n "$TOKEN" ]; then export PULUMI_ACCESS_TOKEN="$TOKEN"; fi
          unset SSH_PRIVATE_KEY PASSPHRASE TOKEN
          make renew STACK={wanted.stack}{arguments}
"""


def install(stack: Stack, wanted: Command, *, at: str | None) -> Iterator[str]:
    """Write the workflow into the checkout, and yield what to say.

    Raises: NotScheduled where the state is on this machine alone.
    """
    if stack.keeps_state_in_files:
        raise NotScheduled(
            "the state of the stack is in files of this machine, which a runner of GitHub does not have; use a timer"
            " here, or move the state to another backend"
        )
    if not re.fullmatch(r"[\w.-]+", stack.name):
        raise NotScheduled(f"a stack name {stack.name!r} does not fit into a workflow")
    path = _path(wanted)
    yield f"wrote {path}; commit it" if scheduled.write(path, text(wanted, at=at)) else f"{path} is as it was"
    hour, minute = divmod(wanted.minute_of_the_day, 60)
    yield f"Next run: {hour:02}:{minute:02} UTC, once it is on the default branch"


def remove(wanted: Command) -> Iterator[str]:
    """Remove the workflow from the checkout, and yield what to say.

    Raises: NotScheduled.
    """
    path = _path(wanted)
    yield f"removed {path}" if scheduled.remove(path) else f"{path} is not there"


def _path(wanted: Command) -> Path:
    return wanted.root / ".github" / "workflows" / f"renew-{wanted.stack}.yml"
