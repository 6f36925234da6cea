"""SQL that sets up roles and databases, again and again."""

import pytest

from rendering import postgres


@pytest.mark.parametrize("name", ["", "Upper", "1st", "with-hyphen", "a b", 'a"; DROP', "x" * 64, "ü"])
def test_a_name_sql_would_have_to_quote_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be a lower-case letter and up to 62 letters, digits or underscores"):
        postgres.databases({name: "Password1"})


@pytest.mark.parametrize("name", ["a", "reflector", "a_1", "x" * 63])
def test_a_plain_name_is_taken(name: str) -> None:
    assert postgres.check_identifier(name) == name


@pytest.mark.parametrize("password", ["", "it's", "a b", "x;--", "a\\b"])
def test_a_password_that_could_leave_its_quotes_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="the password of reflector must be letters and digits only") as refusal:
        postgres.databases({"reflector": password})
    assert not password or password not in str(refusal.value), "an error is no place for a password"


def test_passwords_are_kept_out_of_the_servers_log() -> None:
    script = postgres.databases({"reflector": "Password1"}).splitlines()
    first = next(index for index, line in enumerate(script) if "Password1" in line)
    assert "SET log_statement = 'none';" in script[:first]
    assert "SET log_min_error_statement = panic;" in script[:first]


def test_setting_up_a_database_twice_is_harmless_and_order_does_not_matter() -> None:
    script = postgres.databases({"b": "P2", "a": "P1"})
    assert script == postgres.databases({"a": "P1", "b": "P2"})
    assert script.count("WHERE NOT EXISTS") == 4


def test_a_role_reaches_its_own_database_only() -> None:
    script = postgres.databases({"reflector": "P1"})
    assert "REVOKE ALL ON DATABASE reflector FROM PUBLIC;" in script
    assert "REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;" in script, "everybody may by default"
    assert "NOSUPERUSER NOCREATEDB NOCREATEROLE" in script


def test_the_superuser_has_no_password_once_all_is_set_up() -> None:
    assert "ALTER ROLE postgres PASSWORD NULL;" in postgres.databases({"reflector": "P1"})


def test_indexes_are_made_anew_by_the_rules_of_a_new_library() -> None:
    script = postgres.databases({"reflector": "P1"})
    for name in ("template1", "reflector"):
        connected = script.index(f"\\connect {name}\n")
        assert script.index(f"'ALTER DATABASE {name} REFRESH COLLATION VERSION'") > connected, (
            "it works on its own only"
        )
    assert script.index("\\connect template1\n") < script.index("CREATE DATABASE"), "nothing is made from one that lags"
    assert script.index("\\connect postgres\n") < script.index("SET log_statement"), "a new session has no settings"
