"""Sign-in: settings of it that contradict each other, also where one of them is not known yet."""

from typing import Any, Final

import pytest

from rendering import connections
from settings.base import dotted
from settings.sign_in import Oidc
from tests.unit.settings.examples import SEALED, only, parsed, put, refused_everywhere
from tests.unit.settings.wrong import AUTHENTIK, OIDC

JANE: Final = {"name": "Jane", "email": "jane@example.com"}
STAFF: Final = {"staff": {"members": ["admin", "jane"]}}
MEMBER: Final = "a name below sign_in.users, or admin"
ONE_PERSON: Final = "an address of one person"
GROUP: Final = "the name of a group below sign_in.groups"
ADMINISTRATORS_DOMAIN: Final = "the domain of sign_in.admin_email, or the administrator could not enter"


def authentik(**given: Any) -> dict[str, Any]:
    return {"sign_in": {**AUTHENTIK, **given}}


@pytest.mark.parametrize(
    ("tree", "setting", "given", "allowed", "remedy"),
    [
        *(
            (authentik(groups={"staff": {"members": ["admin", name]}}, users={"jane": JANE}),
             "sign_in.groups.staff.members[1]", repr(name), MEMBER,
             "Add the user, or take the name away: pulumi config rm --path 'sign_in.groups.staff.members[1]'")
            for name in ("joe", "akadmin", "Jane", "", "jane@example.com")
        ),
        *(
            (authentik(access={"group": name}, groups=STAFF, users={"jane": JANE}), "sign_in.access.group",
             f"{name!r}, a group nobody is in", GROUP,
             "Set it: pulumi config set --path sign_in.access.group <group>")
            for name in ("others", "Staff", "")
        ),
        (authentik(access={"group": "staff"}), "sign_in.access.group", "'staff', a group nobody is in", GROUP,
         "Set it: pulumi config set --path sign_in.access.group <group>"),
        (authentik(users={"jane": JANE}, admin_email="Jane@EXAMPLE.com"), "sign_in.users.jane.email",
         "'jane@example.com', which somebody else has too", ONE_PERSON,
         "Set it: pulumi config set --path sign_in.users.jane.email <address>"),
        ({"edge": {"domain": "a.test"}, **authentik(users={"jane": {**JANE, "email": "Admin@A.test"}})},
         "sign_in.admin_email", "nothing, and a user has 'admin@a.test'", ONE_PERSON,
         "Set it: pulumi config set --path sign_in.admin_email <address>"),
        *(
            ({"edge": {"domain": "a.test"}, **authentik(access={"email_domain": name})}, "sign_in.access.email_domain",
             repr(name), ADMINISTRATORS_DOMAIN,
             "Set one of them: pulumi config set --path sign_in.access.email_domain <domain>")
            for name in ("b.test", "sub.a.test", "test.a")
        ),
    ],
)  # fmt: skip
def test_what_contradicts_another_setting_is_named(
    tree: dict[str, Any], setting: str, given: str, allowed: str, remedy: str
) -> None:
    problem = only(tree)
    assert (problem.setting, problem.given, problem.allowed, problem.remedy) == (setting, given, allowed, remedy)


def test_two_users_of_one_address_are_both_named() -> None:
    users = {"jane": JANE, "joe": {"name": "Joe", "email": "JANE@example.com"}}
    found = refused_everywhere(authentik(users=users))
    assert [problem.setting for problem in found] == ["sign_in.users.jane.email", "sign_in.users.joe.email"]


@pytest.mark.parametrize(
    ("content", "name", "value", "owner"),
    [
        *((OIDC, name, value, "authentik") for name, value in (
            ("domain", "auth.a.test"), ("title", "x"), ("users", {"jane": JANE}), ("groups", STAFF),
            ("access", {"group": "staff"}), ("application_slug", "x"), ("refresh_token_days", 3), ("closed_api", False),
            ("signing_key_generation", 2), ("client_secret_generation", 2), ("server", {"memory_mib": 900}),
        )),
        (OIDC, "admin_email", "me@a.test", "authentik or password"),
        *((AUTHENTIK, name, OIDC[name], "oidc") for name in OIDC if name != "mode"),
        (AUTHENTIK, "audience", "x", "oidc"),
        (AUTHENTIK, "everybody_reads_everything", True, "public"),
    ],
)  # fmt: skip
def test_a_setting_of_another_mode_says_whose_it_is(content: Any, name: str, value: object, owner: str) -> None:
    problem = only({"sign_in": {**content, name: value}})
    assert problem.setting == f"sign_in.{name}"
    assert problem.given == f"set while sign_in.mode is {content['mode']!r}: two modes at once"
    assert problem.allowed == f"only with sign_in.mode: {owner}"
    assert problem.remedy.endswith(f"pulumi config rm --path sign_in.{name}")


@pytest.mark.parametrize("name", ["issuer", "token_url", "client_id", "client_secret", "public_key"])
def test_what_a_provider_elsewhere_needs_is_asked_for(name: str) -> None:
    problem = only({"sign_in": {key: value for key, value in OIDC.items() if key != name}})
    assert (problem.setting, problem.given) == (f"sign_in.{name}", "nothing")
    assert problem.allowed == "a value: sign_in.mode is 'oidc'"


WHOLE: Final = {
    "edge": {"domain": "a.test", "extra_names": ["DNS:x.a.test"]},
    **authentik(
        domain="auth.a.test",
        admin_email="me@a.test",
        users={"jane": JANE, "joe": {"name": "Joe", "email": "joe@a.test"}},
        groups=STAFF,
        access={"group": "staff", "email_domain": "a.test"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        ("edge", "domain"), ("sign_in", "domain"), ("sign_in", "admin_email"), ("sign_in", "users", "jane", "email"),
        ("sign_in", "users", "joe", "email"), ("sign_in", "users", "jane", "name"),
        ("sign_in", "groups", "staff", "members", 0), ("sign_in", "groups", "staff", "members", 1),
        ("sign_in", "access", "group"), ("sign_in", "access", "email_domain"), ("sign_in", "title"),
        ("sign_in", "application_slug"), ("sign_in", "access_token_minutes"), ("sign_in", "signing_key_generation"),
        ("edge", "extra_names", 0),
    ],
    ids=dotted,
)  # fmt: skip
def test_what_is_encrypted_contradicts_nothing_before_it_is_known(path: tuple[str | int, ...]) -> None:
    assert parsed(WHOLE).sign_in.mode == "authentik"
    parsed(put(WHOLE, path, SEALED))


@pytest.mark.parametrize(
    "path", [(name,) for name in OIDC if name not in ("mode", "client_secret")], ids=lambda path: str(path[0])
)
def test_what_is_encrypted_of_a_provider_elsewhere_is_taken_on_trust(path: tuple[str, ...]) -> None:
    parsed(put({"sign_in": OIDC}, ("sign_in", *path), SEALED))


def test_a_key_is_written_anew_whatever_is_around_it() -> None:
    text = str(OIDC["public_key"])
    for given in (text, f"\ufeff{text}", text.replace("\n", "\r\n"), f"# of the realm\n{text}\n\n", text.rstrip()):
        found = parsed({"sign_in": {**OIDC, "public_key": given}}).sign_in
        assert isinstance(found, Oidc)
        assert found.public_key == text


def test_the_budget_of_connections_has_authentik_in_it_where_there_is_one() -> None:
    without, with_one = parsed({"sign_in": {"mode": "password"}}), parsed(authentik())
    assert with_one.connections == {"authentik": connections.AUTHENTIK, **without.connections}
    assert "authentik" not in parsed({"sign_in": OIDC}).connections


def test_a_database_too_small_for_it_is_refused_and_says_what_it_takes() -> None:
    images = {"images": {"mode": "upstream"}}
    enough = parsed({**images, "sign_in": {"mode": "password"}})
    least = connections.needed_memory_mib(sum(enough.connections.values()))
    data = {"data": {"postgres": {"memory_mib": least}}}
    parsed({**images, **data, "sign_in": {"mode": "password"}})
    problem = only({**images, **data, **authentik()})
    assert (problem.setting, problem.given) == ("data.postgres.memory_mib", str(least))
    assert f"authentik {connections.AUTHENTIK}" in problem.allowed
