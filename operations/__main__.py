"""`python -m operations <command>`: the stack's life, with checks before and a summary after."""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from operations import blueprint, checks, healing, image_lock
from operations.checks import Checked
from operations.convert import convert
from operations.healing import IMAGE_TYPE, VOLUME_TYPE
from operations.recovery import recover
from operations.stack import Stack
from operations.state import StateError
from operations.upgrade import remedy, upgrade
from settings import Settings, SettingsError, masked
from toolchain import Layout, ToolchainError


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
        ("recover", "bring a damaged state back from a copy the engine has kept"),
        ("convert", "take the stack file and the state of an earlier release to today's form"),
        ("blueprint", "write what an Authentik elsewhere has to be told of Reflector, and say what to do with it"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--stack", default="dev", help="name of the stack (default: dev)")
        if name in {"up", "preview"}:
            command.add_argument(
                "--refresh", action="store_true", help="first look at what is really there, and mend what is not right"
            )
        if name == "recover":
            command.add_argument(
                "--accept-loss", action="store_true", help="also where the copy lacks something, which is named"
            )
        if name == "blueprint":
            command.add_argument("--output", type=Path, metavar="FILE", help="where to (default: standard output)")
    arguments = parser.parse_args()
    stack = Stack(name=arguments.stack, layout=Layout())
    try:
        return run(stack, arguments)
    except (StateError, ToolchainError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        return error.returncode  # the engine has said why


def run(stack: Stack, arguments: argparse.Namespace) -> int:
    """Run one command on a stack, alone if it changes anything, and return its exit status.

    Raises: StateError or ToolchainError, whose text is all there is to say.
    """
    match arguments.command:
        case "preview":
            stack.mention_who_is_at_work()
            return preview(stack, refresh=arguments.refresh)
        case "check":
            return 0 if check(stack).settings else 1
        case "images-accept":
            return image_lock.accept(stack)
        case "convert":
            return convert_all(stack)
        case "blueprint":
            return blueprint.write(stack, arguments.output)
    with stack.alone():
        match arguments.command:
            case "up":
                return up(stack, refresh=arguments.refresh)
            case "recover":
                return recover(stack, accept_loss=arguments.accept_loss)
            case _:
                return down(stack)


def check(stack: Stack) -> Checked:
    """Return what is known of the stack before anything is done, and print every problem."""
    checked = checks.check(stack)
    if checked.problems:
        print(SettingsError(checked.problems), file=sys.stderr)
    for hint in checked.hints:
        print(f"Hint: {hint}", file=sys.stderr)
    return checked


def mending(checked: Checked, *, refresh: bool) -> list[str]:
    """Say what of the stack is damaged, and return the flags that make the engine mend it in the same run."""
    for damage in checked.damage:
        print(f"{damage}: it is made again")
    return healing.flags(checked.damage, refresh=refresh)


def up(stack: Stack, *, refresh: bool) -> int:
    """Create or update the stack, and say where it is."""
    checked = check(stack)
    settings = checked.settings
    if settings is None:
        return 1
    stack.ensure()
    stack.recover()
    upgrade(stack)
    # `down` leaves images to the next `up`; if somebody cleared them away meanwhile, the engine has to look.
    refresh = refresh or checks.lacks_images(settings, stack.resources() or ())
    # Nobody reads a preview that is followed by the update at once; it would only run the program twice.
    status = stack.pulumi("up", "--yes", "--skip-preview", *mending(checked, refresh=refresh))
    if status == 0:
        image_lock.record(stack, settings)
        summarize(settings, checks.forgotten_volumes(settings))
    else:
        say_remedy(stack)
    return status


def say_remedy(stack: Stack) -> None:
    """Print what to do about a run that failed, where the engine's own words would mislead."""
    text = remedy(stack)
    if text is not None:
        print(text, file=sys.stderr)


def convert_all(stack: Stack) -> int:
    """Take what an earlier release left to today's form: the file first, without which the engine cannot be asked."""
    status = convert(stack)
    if status != 0:
        return status
    try:
        upgrade(stack, ask=True)
    except subprocess.CalledProcessError as error:
        print("The state was left as it is. A stack that was never deployed has none to take over.", file=sys.stderr)
        return error.returncode
    return 0


def summarize(settings: Settings, forgotten: Sequence[str] = ()) -> None:
    """Print what somebody needs who has just brought the stack up.

    All of it is in the settings already: asking the engine for its outputs would take a tenth of a run. `forgotten`
    are the volumes of modes that are switched off.
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
    if settings.sign_in_domain:
        sign_in_url = masked(settings.edge.url(settings.sign_in_domain), settings.encrypted)
        print(
            f"\nPeople are looked after at {sign_in_url} by akadmin; all passwords are in\n"
            f"  . ./env.sh && pulumi stack output sign_in --show-secrets --stack {settings.stack}"
        )
    if forgotten:
        print(f"\nKept for modes that are switched off, with all that is in them: {', '.join(forgotten)}")


def preview(stack: Stack, *, refresh: bool) -> int:
    """Show what `up` would change."""
    checked = check(stack)
    if checked.settings is None:
        return 1
    stack.ensure()
    upgrade(stack)
    status = stack.pulumi("preview", "--diff", *mending(checked, refresh=refresh))
    if status != 0:
        say_remedy(stack)
    return status


def down(stack: Stack) -> int:
    """Remove what can be made again; what cannot is protected and stays."""
    stack.ensure()
    stack.recover()
    # Images stay on the host in any case. Known to the state they need not be made sure of again, for many seconds.
    images = [f"**{IMAGE_TYPE}::**"] if stack.keeps_state_in_files else []
    # Of a mode that can be switched off, nothing is protected.
    kept = [f"**{VOLUME_TYPE}::**", "**random:index/**", *images]
    excluded = [part for pattern in kept for part in ("--exclude", pattern)]
    status = stack.pulumi("destroy", "--yes", "--skip-preview", "--exclude-protected", *excluded)
    if status == 0:
        print(f"\nData, keys and passwords are kept. To bring it all back: make up STACK={stack.name}")
    return status


if __name__ == "__main__":
    sys.exit(main())
