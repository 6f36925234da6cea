"""`python -m settings needs --stack NAME`: what has to be on this machine before the stack can be looked at closer.

Prints one JSON object: `docker_host` (address of the daemon), `minimum_free_disk_gib`, `images` (whether they are built
on the host), `aws` (whether its plugin is needed). Never fails over a mistake in the settings: what is wrong takes its
default here, and is named by the checks that follow.
"""

import argparse
import json
import sys

from settings import PROJECT, Settings, SettingsError, path_of, read, usable_part
from settings.images import ROOT, Built
from settings.storage import S3


def main() -> int:
    """Print the answer and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m settings", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    needs = commands.add_parser("needs", help="print what a stack needs of this machine, as JSON")
    needs.add_argument("--stack", required=True, help="name of the stack")
    stack: str = parser.parse_args().stack
    settings = _settings(stack)
    print(
        json.dumps(
            {
                "docker_host": settings.host.address,
                "minimum_free_disk_gib": settings.host.minimum_free_disk_gib,
                "images": isinstance(settings.images, Built),
                "aws": isinstance(settings.storage, S3),
            }
        )
    )
    return 0


def _settings(stack: str) -> Settings:
    try:
        tree = read(path_of(stack, ROOT)).settings
    except (FileNotFoundError, SettingsError):
        tree = {}
    return usable_part(tree, stack, PROJECT)


if __name__ == "__main__":
    sys.exit(main())
