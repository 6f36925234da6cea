"""PostgreSQL: each consumer has a database and a role of its own."""

import pytest

from components.data.postgres import PostgresArgs
from testing import building
from testing.building import password_of
from testing.engine import is_secret, value_of

BUILT = building.built("Postgres")


def test_a_database_name_sql_would_have_to_quote_is_refused() -> None:
    with pytest.raises(ValueError, match="'Bad-Name'"):
        building.build(
            lambda near: PostgresArgs(
                host=near.host, image=near.image(), memory_mib=64, connections=9, databases=["Bad-Name"]
            )
        )


def test_it_sits_on_its_internal_network_alone() -> None:
    assert building.networks_of(BUILT.named("it-container")) == {"reflector-test-database": ["postgres"]}
    assert BUILT.named("host-database").plain("internal") is True


def test_a_database_is_handed_over_with_its_own_role_and_password() -> None:
    database = BUILT.component.databases["hatchet"]
    assert (database.host, database.port) == ("postgres", 5432)
    assert (database.name, database.user, database.network) == ("hatchet", "hatchet", "database")
    assert value_of(database.password) == password_of("it-hatchet")
    assert is_secret(database.password)


def test_roles_and_databases_are_set_up_through_standard_input() -> None:
    setup = BUILT.named("it-databases")
    assert setup.is_secret("stdin"), "it holds the passwords"
    assert password_of("it-reflector") in setup.plain("stdin")
    assert password_of("it-reflector") not in str(setup.plain("interpreter")) + setup.plain(
        "create"
    ) + building.script_of(setup)


def test_a_database_is_only_ready_once_its_role_exists() -> None:
    for database in BUILT.component.databases.values():
        assert value_of(database.ready.urn) == BUILT.named("it-databases").urn


def test_no_container_knows_a_consumers_password() -> None:
    text = BUILT.named("it-container").text()
    assert password_of("it-superuser") in text
    assert password_of("it-reflector") not in text, "the server needs the superuser's alone, and that one only once"


def test_its_data_are_where_the_volume_is_whatever_the_image_would_take() -> None:
    container = BUILT.named("it-container")
    # From 18 on the image would keep them beside the volume, and they would go with the container.
    assert building.environment_of(container)["PGDATA"] == container.plain("volumes")[0]["containerPath"]


def test_a_volume_is_looked_at_before_the_server_may_touch_it() -> None:
    shell, option, script, name, *command = BUILT.named("it-container").plain("command")
    assert (shell, option, name, command[0]) == ("sh", "-c", "sh", "postgres")
    assert 'exec docker-entrypoint.sh "$@"' in script
