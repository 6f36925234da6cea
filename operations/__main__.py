"""`python -m operations <command>`: the stack's life, with checks before and a summary after."""

import argparse
import sys

from operations import checks, image_lock
from operations.convert import convert
from operations.stack import Stack
from operations.state import IMAGE_TYPE
from settings import Settings, SettingsError, masked
from toolchain import Layout


def main() -> int:
    """Run one command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m operations", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, text in (
        ("up", "check, then create or update the stack"),
        ("preview", "check, then show what would change"),
        ("check", "only check the settings and the Docker host"),
        ("down", "remove the stack's containers and networks; data, keys and passwords stay"),
        ("images-accept", "take what was pulled last for what each image tag means"),
        ("convert", "take the stack file of an earlier release to today's form"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--stack", default="dev", help="name of the stack (default: dev)")
        if name in {"up", "preview"}:
            command.add_argument(
                "--refresh", action="store_true", help="first look at what is really there, and mend what is not right"
            )
    arguments = parser.parse_args()
    stack = Stack(name=arguments.stack, layout=Layout())
    match arguments.command:
        case "up":
            return up(stack, refresh=arguments.refresh)
        case "preview":
            return preview(stack, refresh=arguments.refresh)
        case "check":
            return 0 if check(stack) else 1
        case "images-accept":
            return image_lock.accept(stack)
        case "convert":
            return convert(stack)
        case _:
            return down(stack)


def check(stack: Stack) -> Settings | None:
    """Return the settings of the stack; None, and every problem printed, if there is one."""
    checked = checks.check(stack)
    if checked.problems:
        print(SettingsError(checked.problems), file=sys.stderr)
    for hint in checked.hints:
        print(f"Hint: {hint}", file=sys.stderr)
    return checked.settings


def up(stack: Stack, *, refresh: bool) -> int:
    """Create or update the stack, and say where it is."""
    settings = check(stack)
    if settings is None:
        return 1
    stack.ensure()
    stack.recover()
    # `down` leaves images to the next `up`; if somebody cleared them away meanwhile, the engine has to look.
    refresh = refresh or checks.lacks_images(settings, stack.kept_images)
    # Nobody reads a preview that is followed by the update at once; it would only run the program twice.
    status = stack.pulumi("up", "--yes", "--skip-preview", *(["--refresh"] if refresh else []))
    if status == 0:
        image_lock.record(stack, settings)
        summarize(settings)
    return status


def summarize(settings: Settings) -> None:
    """Print what somebody needs who has just brought the stack up.

    All of it is in the settings already: asking the engine for its outputs would take a tenth of a run.
    """
    url = masked(settings.url, settings.encrypted)
    print(
        f"\nReflector is up: {url}\n\n"
        f"Its certificate comes from a private authority. To trust it:\n"
        f"  . ./env.sh && pulumi stack output ca_certificate --stack {settings.stack} > reflector-ca.crt\n"
        f"  curl --cacert reflector-ca.crt {url}/health\n"
        f"  (browsers and other machines: docs/deploy.md)"
    )
    if settings.admin_email:
        print(
            f"\nLog in as {masked(settings.admin_email, settings.encrypted)} with the password of\n"
            f"  . ./env.sh && pulumi stack output admin_password --show-secrets --stack {settings.stack}"
        )


def preview(stack: Stack, *, refresh: bool) -> int:
    """Show what `up` would change."""
    if check(stack) is None:
        return 1
    stack.ensure()
    return stack.pulumi("preview", "--diff", *(["--refresh"] if refresh else []))


def down(stack: Stack) -> int:
    """Remove what can be made again; what cannot is protected and stays."""
    stack.ensure()
    stack.recover()
    # Images stay on the host in any case. Known to the state they need not be made sure of again, for many seconds.
    kept = ("--exclude", f"**{IMAGE_TYPE}::**") if stack.keeps_state_in_files else ()
    status = stack.pulumi("destroy", "--yes", "--skip-preview", "--exclude-protected", *kept)
    if status == 0:
        print(f"\nData, keys and passwords are kept. To bring it all back: make up STACK={stack.name}")
    return status


if __name__ == "__main__":
    sys.exit(main())
