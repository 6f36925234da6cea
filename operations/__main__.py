"""`python -m operations <command>`: the stack's life, with checks before and a summary after."""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from operations import (
    blueprint,
    bulk,
    checks,
    healing,
    image_lock,
    metrics,
    pki,
    policy,
    rekeying,
    renewal,
    schedule,
    status,
)
from operations.checks import Checked
from operations.convert import convert
from operations.healing import IMAGE_TYPE, VOLUME_TYPE
from operations.recovery import recover
from operations.rekeying import Aged
from operations.served import Place
from operations.stack import Stack
from operations.state import StateError
from operations.status import NoStatus, Status
from operations.upgrade import remedy, upgrade
from rendering import trust_page
from settings import PROJECT, Settings, SettingsError, masked, parse
from settings.certificate import Private, SignedBy
from settings.registry import Issued
from toolchain import Layout, ToolchainError

UNKNOWN: Final = 3
"""What monitoring plugins end with where nothing can be told."""


def main() -> int:
    """Run one command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m operations", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, text in (
        ("up", "check, then create or update the stack"),
        ("preview", "check, then show what would change"),
        ("policy", "preview with the policy pack, and look for private keys in clear text in the state"),
        ("check", "only check the settings and the Docker host"),
        ("down", "remove the stack's containers and networks; data, keys and passwords stay"),
        ("images-accept", "take what was pulled last for what each image tag means"),
        ("recover", "bring a damaged state back from a copy the engine has kept"),
        ("convert", "take the stack file and the state of an earlier release to today's form"),
        ("renew", "issue and deliver certificates near their end, and touch nothing else"),
        ("schedule", "let this machine do so by itself: a systemd timer, a line of cron, or a workflow on GitHub"),
        ("status", "show certificates with their ends, services, volumes; exit status 0 fine, 1 warning, 2 critical"),
        ("pki", "certificates by name: list, show, export, verify, rotate, rekey, revoke, history, root"),
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
        if name == "pki":
            pki.add_commands(command)
        if name in {"renew", "schedule", "status"}:
            _add_renewal_options(command, name)
    arguments = parser.parse_args()
    stack = Stack(name=arguments.stack, layout=Layout())
    try:
        return run(stack, arguments)
    except (StateError, ToolchainError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        return error.returncode  # the engine has said why


def _add_renewal_options(command: argparse.ArgumentParser, name: str) -> None:
    command.add_argument(
        "--at", metavar="HOST:PORT", help="where this machine reaches the edge (default: as the settings publish it)"
    )
    command.add_argument(
        "--metrics", type=Path, metavar="FILE", help="also write a file for node_exporter's textfile collector"
    )
    if name == "status":
        command.add_argument("--json", action="store_true", help="print JSON")
        command.add_argument(
            "--no-sizes", action="store_true", help="do not ask for sizes of volumes, which takes long"
        )
    else:
        command.add_argument("--dry-run", action="store_true", help="only say what would be done")
    if name == "schedule":
        ways = command.add_mutually_exclusive_group()
        ways.add_argument("--cron", dest="way", action="store_const", const="cron", help="by a line of your crontab")
        ways.add_argument("--github", dest="way", action="store_const", const="github", help="by a workflow on GitHub")
        command.set_defaults(way="systemd")
        command.add_argument("--remove", action="store_true", help="take it back")
        command.add_argument(
            "--output", type=Path, metavar="DIR", help="write the units there, and leave installing them to others"
        )


def run(stack: Stack, arguments: argparse.Namespace) -> int:
    """Run one command on a stack, alone if it changes anything, and return its exit status.

    Raises: StateError or ToolchainError, whose text is all there is to say.
    """
    match arguments.command:
        case "preview":
            stack.mention_who_is_at_work()
            return preview(stack, refresh=arguments.refresh)
        case "policy":
            stack.mention_who_is_at_work()
            previewed = preview(stack, refresh=False, policies=policy.flags(stack))
            return policy.see_that_the_state_holds_no_key(stack) or previewed
        case "check":
            return 0 if check(stack).settings else 1
        case "images-accept":
            return image_lock.accept(stack)
        case "convert":
            return convert_all(stack)
        case "pki":
            return pki.run(stack, arguments)
        case "blueprint":
            return blueprint.write(stack, arguments.output)
        case "renew":
            place = _place(arguments.at)
            ended = renewal.renew(stack, place=place, dry_run=arguments.dry_run)
            return max(ended, write_metrics(stack, arguments.metrics, place)) if not arguments.dry_run else ended
        case "status":
            return show_status(stack, arguments)
        case "schedule":
            _place(arguments.at)
            return schedule.schedule(
                stack,
                way=arguments.way,
                at=arguments.at,
                metrics=arguments.metrics,
                output=arguments.output,
                dry_run=arguments.dry_run,
                remove=arguments.remove,
            )
    with stack.alone():
        match arguments.command:
            case "up":
                return up(stack, refresh=arguments.refresh)
            case "recover":
                return recover(stack, accept_loss=arguments.accept_loss)
            case _:
                return down(stack)


def _place(text: str | None) -> Place | None:
    """Return where the edge is reached, if that is said.

    Raises: StateError.
    """
    try:
        return None if text is None else Place.of(text)
    except ValueError as error:
        raise StateError(f"--at: {error}, such as 192.0.2.7:443 or [2001:db8::7]:443") from None


def _collected(stack: Stack, place: Place | None, *, sizes: bool) -> tuple[Status, Settings]:
    settings = parse(checks.tree_of(stack), stack.name, PROJECT)
    return status.collect(stack, settings, place=place, sizes=sizes), settings


def show_status(stack: Stack, arguments: argparse.Namespace) -> int:
    """Print how the stack is, and return that as an exit status: 3 where it cannot be told."""
    try:
        place = _place(arguments.at)
        found, settings = _collected(stack, place, sizes=not arguments.no_sizes)
        if arguments.metrics is not None:
            metrics.write(arguments.metrics, found)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return UNKNOWN
    except (StateError, ToolchainError, NoStatus, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return UNKNOWN
    except subprocess.CalledProcessError:  # the engine has said why
        return UNKNOWN
    print(status.shown(found, settings, json_wanted=arguments.json))
    return found.level


def write_metrics(stack: Stack, path: Path | None, place: Place | None) -> int:
    """Write the metrics of a stack, if they are wanted, and return the exit status."""
    if path is None:
        return 0
    try:
        found, _ = _collected(stack, place, sizes=True)
        metrics.write(path, found)
    except (SettingsError, NoStatus, OSError) as error:
        print(f"error: no metrics in {path}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


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


def rekeyed(stack: Stack, settings: Settings) -> list[Aged]:
    """Say whose key has had its time, and return them: the engine makes them anew in the same run.

    Where the state is not in files this is left to `make renew`, which asks the engine for it anyway.
    """
    aged = rekeying.aged(settings, stack.resources() or (), datetime.now(UTC))
    for one in aged:
        print(one)
    return aged


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
    # What is due for a new key is known before anything is renewed with the key it has.
    flags, aged = mending(checked, refresh=refresh), rekeyed(stack, settings)
    ahead = bulk.ahead(stack, settings, aged)
    flags += rekeying.flags(one for one in aged if one.key not in ahead.replaced)
    leaving = bulk.left_over(stack, settings)
    status = bulk.make(stack, ahead)
    if status == 0:
        # Nobody reads a preview that is followed by the update at once; it would only run the program twice.
        status = stack.pulumi("up", "--yes", "--skip-preview", *flags, *bulk.spared(leaving))
    if status == 0:
        status = bulk.forget(stack, leaving)
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
    print(f"\nReflector is up: {url}")
    if isinstance(settings.certificate, Private | SignedBy) or isinstance(settings.named, Issued):
        print(
            f"\nIts certificate comes from a private authority. To trust it:\n"
            f"  . ./env.sh && pulumi stack output ca_certificate --stack {settings.stack} > reflector-ca.crt\n"
            f"  curl --cacert reflector-ca.crt {url}/health\n"
            f"  (browsers and other machines: {url}{trust_page.PATH}, docs/trust.md;\n"
            f"  going past the browser's warning is not enough, and the one certificate is for every name)"
        )
    if settings.admin_email:
        print(
            f"\nLog in as {masked(settings.admin_email, settings.encrypted)} with the password of\n"
            f"  . ./env.sh && pulumi stack output admin_password --show-secrets --stack {settings.stack}"
        )
    if settings.sign_in_url:
        sign_in_url = masked(settings.sign_in_url, settings.encrypted)
        print(
            f"\nPeople are looked after at {sign_in_url} by akadmin; all passwords are in\n"
            f"  . ./env.sh && pulumi stack output sign_in --show-secrets --stack {settings.stack}"
        )
    if forgotten:
        print(f"\nKept for modes that are switched off, with all that is in them: {', '.join(forgotten)}")


def preview(stack: Stack, *, refresh: bool, policies: Sequence[str] = ()) -> int:
    """Show what `up` would change; with flags for `policies`, fail where it would break one."""
    checked = check(stack)
    if checked.settings is None:
        return 1
    stack.ensure()
    upgrade(stack)
    flags = [*mending(checked, refresh=refresh), *rekeying.flags(rekeyed(stack, checked.settings)), *policies]
    status = stack.pulumi("preview", "--diff", *flags)
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
