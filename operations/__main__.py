"""`python -m operations <command>`: the stack's life, with checks before and a summary after."""

import argparse
import sys

from operations import preflight
from operations.stack import Stack
from settings import SettingsError
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
        case _:
            return down(stack)


def check(stack: Stack) -> bool:
    """Print every problem of the stack, and return whether there is none."""
    _, problems = preflight.check(stack.name, deployment=stack.deployment)
    if problems:
        print(SettingsError(problems), file=sys.stderr)
    return not problems


def up(stack: Stack, *, refresh: bool) -> int:
    """Create or update the stack, and say where it is."""
    if not check(stack):
        return 1
    stack.ensure()
    stack.recover()
    # Nobody reads a preview that is followed by the update at once; it would only run the program twice.
    status = stack.pulumi("up", "--yes", "--skip-preview", *(["--refresh"] if refresh else []))
    if status == 0:
        summarize(stack)
    return status


def summarize(stack: Stack) -> None:
    """Print what somebody needs who has just brought the stack up."""
    outputs = stack.outputs()
    url = outputs["url"]
    print(
        f"\nReflector is up: {url}\n\n"
        f"Its certificate comes from a private authority. To trust it:\n"
        f"  . ./env.sh && pulumi stack output ca_certificate --stack {stack.name} > reflector-ca.crt\n"
        f"  curl --cacert reflector-ca.crt {url}/health\n"
        f"  (browsers and other machines: docs/deploy.md)"
    )
    if outputs.get("admin_email"):
        print(
            f"\nLog in as {outputs['admin_email']} with the password of\n"
            f"  . ./env.sh && pulumi stack output admin_password --show-secrets --stack {stack.name}"
        )


def preview(stack: Stack, *, refresh: bool) -> int:
    """Show what `up` would change."""
    if not check(stack):
        return 1
    stack.ensure()
    return stack.pulumi("preview", "--diff", *(["--refresh"] if refresh else []))


def down(stack: Stack) -> int:
    """Remove what can be made again; what cannot is protected and stays."""
    stack.ensure()
    stack.recover()
    status = stack.pulumi("destroy", "--yes", "--skip-preview", "--exclude-protected")
    if status == 0:
        print(f"\nData, keys and passwords are kept. To bring it all back: make up STACK={stack.name}")
    return status


if __name__ == "__main__":
    sys.exit(main())
