"""SQL for PostgreSQL, and how it is started."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_IDENTIFIER: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")  # what needs no quoting, up to NAMEDATALEN - 1


def guarded(command: Sequence[str]) -> list[str]:
    """Return what starts the image's own entrypoint with `command`, on a volume that its PostgreSQL may touch."""
    return ["sh", "-c", Path(__file__).with_name("postgres.sh").read_text(encoding="utf-8"), "sh", *command]


def check_identifier(name: str) -> str:
    """Return `name` if SQL takes it unquoted.

    Raises: ValueError otherwise.
    """
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError(f"database {name!r} must be a lower-case letter and up to 62 letters, digits or underscores")
    return name


def databases(passwords: Mapping[str, str]) -> str:
    """Return the psql script that makes sure of one role and one database for each name, with this password.

    Run again it changes nothing but the passwords, so a new one takes effect on existing data.
    """
    script = [
        # A failing statement would otherwise be written to the server's log, password and all.
        "SET log_min_error_statement = panic;",
        "SET log_statement = 'none';",
        "SET password_encryption = 'scram-sha-256';",
        # From here on the superuser only gets in over the socket, from inside the container.
        "ALTER ROLE postgres PASSWORD NULL;",
        # Those that come with the server; no role of ours has any business there.
        "REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;",
    ]
    for name in sorted(passwords):
        check_identifier(name)
        if not passwords[name].isalnum():
            raise ValueError(f"the password of {name} must be letters and digits only")
        script += [
            f"SELECT 'CREATE ROLE {name}' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') \\gexec",
            f"ALTER ROLE {name} WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '{passwords[name]}';",
            f"SELECT 'CREATE DATABASE {name} OWNER {name}'"
            f" WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{name}') \\gexec",
            f"REVOKE ALL ON DATABASE {name} FROM PUBLIC;",
            # Hatchet refuses any other, and Reflector stores UTC.
            f"ALTER DATABASE {name} SET timezone TO 'UTC';",
        ]
    return "\n".join(script) + "\n"
