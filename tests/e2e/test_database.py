"""PostgreSQL's volume and what it was not made for: another image, and a library that sorts by other rules."""

import pytest

from rendering import postgres
from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker

PSQL = ("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--username=postgres", "--tuples-only", "--no-align")


def test_another_postgres_is_refused_before_anything_is_touched(deployment: Stack) -> None:
    before = deployment.ids()
    deployment.configure(
        {"images.mode": "upstream", "images.references": {"transcription": "own.test/speech:1.0.0"}},
    )
    output = deployment.run("up").failed().output
    deployment.checkout.configure(deployment.name, {"images.mode": "built"}, without=["images.references"])
    deployment.settled = True
    said = [line for line in output.splitlines() if "for data made by PostgreSQL 15 of Debian" in line]
    assert said, output
    assert "Traceback" not in output
    assert deployment.ids() == before


def test_indexes_are_made_anew_where_the_library_sorts_by_other_rules(deployment: Stack) -> None:
    # C.UTF-8, which the databases are in, has no rules that change; those of ICU have a number.
    def ask(database: str, *statements: str) -> str:
        commands = [f"--command={statement}" for statement in statements]
        return deployment.inside("postgres", *PSQL, f"--dbname={database}", *commands).strip()

    version = "SELECT datcollversion FROM pg_database WHERE datname = 'scratch'"
    index = "SELECT pg_relation_filenode('words_pkey')"
    ask("postgres", "CREATE DATABASE scratch TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'")
    try:
        ask("scratch", "CREATE TABLE words (word text PRIMARY KEY)")
        today, before = ask("postgres", version), ask("scratch", index)
        script = postgres.databases({"scratch": "Password1"})
        deployment.inside("postgres", *PSQL, stdin=script)
        assert (ask("postgres", version), ask("scratch", index)) == (today, before)
        ask("postgres", "UPDATE pg_database SET datcollversion = '1' WHERE datname = 'scratch'")
        deployment.inside("postgres", *PSQL, stdin=script)
        assert ask("postgres", version) == today
        assert ask("scratch", index) != before
    finally:
        ask("postgres", "DROP DATABASE scratch", "DROP ROLE IF EXISTS scratch")
