"""`python3 -m toolchain <command>`: set-up, checks and the environment of this checkout.

Runs on a bare Python. The path on which nothing is to be done imports next to nothing, so that every `make` target can
begin with it.
"""

import os
import sys


def _newer_python() -> None:
    """Go on in a newer Python when this one is too old; return only if this one will do.

    Nothing here may be newer than what an old Python understands.
    """
    if sys.version_info >= (3, 11):  # noqa: UP036 - reached on machines whose own Python is older
        return
    import shutil

    for minor in range(19, 10, -1):
        program = shutil.which(f"python3.{minor}")
        if program is not None:
            os.execv(program, [program, "-m", "toolchain", *sys.argv[1:]])
    sys.exit(
        f"Python 3.11 or newer is needed, this is {sys.version.split()[0]} ({sys.executable}), and no other is on PATH."
        " Debian 12, Ubuntu 24.04 and later have one: apt-get install python3 python3-venv."
    )


def main() -> int:
    """Run one command and return its exit status."""
    _newer_python()
    from toolchain.layout import ToolchainError

    try:
        from toolchain import cli

        return cli.main(sys.argv[1:])
    except ToolchainError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; run it again to go on from here", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
