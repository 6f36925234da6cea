"""`python -m operations pki <command>`: the certificates of a stack, to be looked at, handed over and made anew."""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from operations import checks, inventory, metrics, pki_export, pki_history, pki_revoke, pki_root, pki_rotate, pki_verify
from operations.inventory import Certificate, Level
from operations.pki_material import certificates, find
from operations.stack import Stack
from operations.state import StateError
from operations.status import NoStatus, table
from settings import PROJECT, Settings, SettingsError, masked, parse
from settings.values import REVOCATION_REASONS
from toolchain import ToolchainError

UNKNOWN: Final = 3
"""What monitoring plugins end with where nothing can be told."""
_DATE: Final = "%Y-%m-%d %H:%M"
_SHORT: Final = 11
"""Characters of a fingerprint that tell certificates of a stack apart: four bytes with their colons."""


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the commands and their options."""
    commands = parser.add_subparsers(dest="pki_command", required=True, metavar="command")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    def with_place(one: argparse.ArgumentParser) -> None:
        one.add_argument(
            "--at",
            metavar="HOST:PORT",
            help="where this machine reaches the edge (default: as the settings publish it)",
        )

    listing = command("list", "show all of them; exit status 0 fine, 1 near an end, 2 very near or past it, 3 unknown")
    ways = listing.add_mutually_exclusive_group()
    ways.add_argument("--json", action="store_true", help="print JSON")
    ways.add_argument("--metrics", action="store_true", help="print Prometheus' text format")
    with_place(listing)
    show = command("show", "show all that is known of one; exit status as of list")
    show.add_argument("name", metavar="NAME")
    show.add_argument("--json", action="store_true", help="print JSON")
    with_place(show)
    export = command("export", "write one with its private key into a new file that only you can read")
    export.add_argument("name", metavar="NAME")
    forms = export.add_mutually_exclusive_group(required=True)
    forms.add_argument("--pem", type=Path, metavar="FILE", help="key, certificate and those between it and the root")
    forms.add_argument("--p12", type=Path, metavar="FILE", help="PKCS #12 of the same and the root, with a password")
    export.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help="its first line is the password (default: a new one, shown once)",
    )
    verify = command("verify", "hold all of them against what clients do, also where they are shown; 0 fine, 2 not")
    with_place(verify)
    rotate = command("rotate", "have the next `up` make key and certificate anew")
    chosen = rotate.add_mutually_exclusive_group(required=True)
    chosen.add_argument("name", metavar="NAME", nargs="?")
    chosen.add_argument("--all", action="store_true", help="all that are issued here")
    rekey = command("rekey", "have the next `up` make anew what has had its key for long")
    rekey.add_argument(
        "--older-than", type=int, metavar="DAYS", help="how old a key may become (default: rekey_days of each)"
    )
    revoke = command("revoke", "have the next `up` let nobody in with certificates of a client, and make a new one")
    revoke.add_argument("name", metavar="NAME")
    which = revoke.add_mutually_exclusive_group()
    which.add_argument("--serial", action="append", metavar="SERIAL", help="which, where there are several")
    which.add_argument("--all", action="store_true", help="every one that is in its time")
    revoke.add_argument(
        "--reason", choices=REVOCATION_REASONS, default=REVOCATION_REASONS[0], help="why (default: %(default)s)"
    )
    history = command("history", "show what each run has changed of certificates, who ran it, and who uses them since")
    history.add_argument(
        "--last", type=int, default=pki_history.LAST, metavar="RUNS", help="how many runs (default: %(default)s)"
    )
    history.add_argument("--json", action="store_true", help="print JSON")
    root = command(
        "root", "a root whose key is in a file away from every stack: make one, and have it sign authorities"
    )
    pki_root.add_commands(root)


def run(stack: Stack, arguments: argparse.Namespace) -> int:
    """Run one command, and return its exit status."""
    commands: Mapping[str, Callable[[Stack, Settings, argparse.Namespace], int]] = {
        "list": _list,
        "show": _show,
        "export": pki_export.export,
        "verify": pki_verify.verify,
        "rotate": pki_rotate.rotate,
        "rekey": pki_rotate.rekey,
        "revoke": pki_revoke.revoke,
        "root": pki_root.run,
        "history": pki_history.show,
    }
    looks = arguments.pki_command in {"list", "show", "verify"}
    failed = UNKNOWN if looks else 1
    settings: Settings | None = None
    try:
        if pki_root.is_about_no_stack(arguments):
            return pki_root.new(arguments)
        # What reads no file of certificates needs no moment, and tells of what is out of its time as of all else.
        now = datetime.now(UTC) if arguments.pki_command == "verify" else None
        settings = parse(checks.tree_of(stack), stack.name, PROJECT, now)
        return commands[arguments.pki_command](stack, settings, arguments)
    except SettingsError as error:
        print(error, file=sys.stderr)
        # What is brought and does not do is a setting that is refused: looked for, and found.
        return Level.CRITICAL if arguments.pki_command == "verify" else failed
    except (StateError, ToolchainError, NoStatus, OSError) as error:
        print(masked(f"error: {error}", settings.encrypted if settings is not None else ()), file=sys.stderr)
    except subprocess.CalledProcessError:  # the engine has said why
        pass
    return failed


def _list(stack: Stack, settings: Settings, arguments: argparse.Namespace) -> int:
    found, now = certificates(stack, settings, arguments.at), datetime.now(UTC)
    level = max(one.level(now) for one in found)
    if arguments.json:
        text = json.dumps([_described(one, found, now) for one in found], indent=2, ensure_ascii=False)
    elif arguments.metrics:
        text = metrics.certificates_text(stack.name, now, found).rstrip("\n")
    else:
        text = table(
            ("CERTIFICATE", "KIND", "AUTHORITY", "NAMES", "KEY", "SHA-256", "DAYS LEFT", "RENEW AT (UTC)", "STATE",
             "SOURCE", "USED BY"),
            [_row(one, found, now) for one in found],
        )  # fmt: skip
        text += f"\n\n{stack.name}: {level.name}"
    print(masked(text, settings.encrypted))
    return level


def _row(one: Certificate, found: Sequence[Certificate], now: datetime) -> tuple[str, ...]:
    left = one.days_left(now)
    users = [f"{kind} {', '.join(names)}" for kind, names in one.users.items()]
    return (
        one.called,
        one.kind,
        " ".join(filter(None, (one.authority, one.generation))) or "-",
        one.told or one.subject or "-",
        one.key or ("-" if one.is_list else "?"),
        one.sha256[:_SHORT] or ("-" if one.is_list else "?"),
        "?" if left is None else f"{left:.1f}",
        "-" if one.renew_at is None else f"{one.renew_at:{_DATE}}",
        inventory.state(one, found, now),
        "-" if one.is_authority or one.is_list else one.source,
        "; ".join(users) or "-",
    )


def _described(one: Certificate, found: Sequence[Certificate], now: datetime) -> dict[str, Any]:
    left = one.days_left(now)
    return {
        "name": one.name,
        "kind": one.kind,
        "source": one.source,
        "names": list(one.names),
        "expires": _rfc3339(one.expires),
        "chain_expires": _rfc3339(one.chain_expires),
        "ends_with": inventory.ends_first(one, found) or None,
        "renew_at": _rfc3339(one.renew_at),
        "days_left": None if left is None else round(left, 1),
        "level": one.level(now).name.lower(),
        "state": inventory.state(one, found, now),
        **inventory.described(one),
    }


def _show(stack: Stack, settings: Settings, arguments: argparse.Namespace) -> int:
    found, now = certificates(stack, settings, arguments.at), datetime.now(UTC)
    one = find(arguments.name, found)
    content = _described(one, found, now)
    if arguments.json:
        text = json.dumps(content, indent=2, ensure_ascii=False)
    else:
        rows = [
            (name.replace("_", " "), _plain(value)) for name, value in content.items() if value not in (None, [], {})
        ]
        width = max(len(name) for name, _ in rows)
        text = "\n".join(f"{name.ljust(width)}  {value}" for name, value in rows)
    print(masked(text, settings.encrypted))
    return one.level(now)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{kind} {', '.join(names)}" for kind, names in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)


def _rfc3339(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
