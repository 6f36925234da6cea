"""SQL for PostgreSQL, and how it is started."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_IDENTIFIER: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")  # what needs no quoting, up to NAMEDATALEN - 1


def _sorted_anew(names: Sequence[str]) -> list[str]:
    """Return what makes indexes anew where the library that sorts text has other rules than the database was made by.

    A new release of the same distribution has some, and wrong indexes say nothing. Where the rules are the same, or
    have no number, nothing is done; nor before PostgreSQL 15, which does not know by which a database was made.
    """
    script = ["SELECT :SERVER_VERSION_NUM >= 150000 AS knows_rules \\gset", "\\if :knows_rules"]
    for name in names:
        script += [
            f"\\connect {name}",
            f"SELECT 'REINDEX DATABASE {name}', 'ALTER DATABASE {name} REFRESH COLLATION VERSION' FROM pg_database"
            f" WHERE datname = '{name}' AND datcollversion <> pg_database_collation_actual_version(oid) \\gexec",
        ]
    return [*script, "\\endif"]


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
        # First, and before any setting of the session: from a template with older rules nothing can be made.
        *_sorted_anew(["template1"]),
        "\\connect postgres",
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
    script += _sorted_anew(sorted(passwords))
    return "\n".join(script) + "\n"
