"""The blueprint: what Authentik is told, checked against its own client, and read as it reads it."""

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
import yaml

from components import sign_in
from components.sign_in.authentik_setup import farewells, with_first
from rendering import authentik, environment
from rendering.authentik import Application, Person
from testing import blueprints
from testing.blueprints import FileText, Find, entries, faults
from testing.building import application
from tests.unit.settings.examples import parsed

DIGEST: Final = "0123456789abcdef"
KEY: Final = "authentik_crypto.certificatekeypair"
PROVIDER: Final = "authentik_providers_oauth2.oauth2provider"
APPLICATION: Final = "authentik_core.application"
USER: Final = "authentik_core.user"
GROUP: Final = "authentik_core.group"
BINDING: Final = "authentik_policies.policybinding"
EXPRESSION: Final = "authentik_policies_expression.expressionpolicy"
BRAND: Final = "authentik_brands.brand"


def rendered(given: Application) -> str:
    return authentik.blueprint(given, DIGEST)


def only(text: str, model: str, state: str | None = None) -> dict[str, Any]:
    """Return the one entry of a model."""
    (entry,) = (entry for entry in entries(text, model) if state in (None, entry["state"]))
    return entry


FULL: Final = application(access_email_domain="reflector.test")
BARE: Final = application(others=(), groups=(), access_group=None, administrator=FULL.administrator)
BEFORE: Final[Mapping[str, Any]] = {
    "slugs": ["former"], "users": ["gone", "admin", "yes", 'a"b'], "groups": ["former group", "null"],
    "allowed": ["admin", "gone", "joe"],
}  # fmt: skip
NOW: Final[Mapping[str, Any]] = {"slugs": ["reflector"], "users": ["admin", "joe"], "groups": [], "allowed": ["admin"]}

TEXTS: Final[Mapping[str, str]] = {
    "everything": rendered(FULL),
    "nothing optional": rendered(BARE),
    "a group alone": rendered(application()),
    "a domain alone": rendered(application(access_group=None, access_email_domain="reflector.test")),
    "somebody inactive": rendered(
        application(others=(Person(user_name="jane", name="Jane", email="j@a.test", is_active=False),))
    ),
    "for import": authentik.blueprint_for_import(FULL),
    "administrators": authentik.administrators_blueprint(FULL.administrator),
    "farewells": with_first(rendered(FULL), farewells(BEFORE, NOW)),
}


# --- What the official client says ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEXTS)
def test_every_name_type_and_choice_is_one_authentik_has(name: str) -> None:
    found = entries(TEXTS[name])
    assert found
    assert [fault for entry in found for fault in faults(entry)] == []


def test_only_what_is_used_is_allowed_besides() -> None:
    used = {
        (entry["model"], name) for text in TEXTS.values() for entry in entries(text) for name in entry.get("attrs", ())
    }
    assert set(blueprints.BLUEPRINT_ONLY) <= used
    assert {entry["model"] for text in TEXTS.values() for entry in entries(text)} == set(blueprints.MODELS)


def test_the_client_is_of_the_release_that_is_deployed() -> None:
    """A release's patches keep its API."""
    from toolchain import Pins

    data = Pins.read().data
    assert data["python"]["dev"]["authentik-client"].split(".")[:2] == data["images"]["authentik"]["tag"].split(".")[:2]


def changed(model: str, change: Callable[[dict[str, Any]], object], state: str = "present") -> list[str]:
    """Return what is found in an entry of the whole blueprint after a change."""
    entry = copy.deepcopy(next(one for one in entries(TEXTS["everything"], model) if one["state"] == state))
    assert faults(entry) == []
    change(entry)
    return faults(entry)


@pytest.mark.parametrize(
    ("model", "change", "said"),
    [
        (PROVIDER, lambda entry: entry["attrs"].update(grant_type=[]), "grant_type: no such attribute"),
        (PROVIDER, lambda entry: entry["attrs"].update(grant_types=["code"]), "grant_types.0: Input should be"),
        (PROVIDER, lambda entry: entry["attrs"].update(sub_mode="upn"), "sub_mode: Input should be"),
        (PROVIDER, lambda entry: entry["attrs"].update(client_type="Confidential"), "client_type: Input should be"),
        (PROVIDER, lambda entry: entry["attrs"].update(issuer_mode="provider"), "issuer_mode: Input should be"),
        (PROVIDER, lambda entry: entry["attrs"].update(include_claims_in_id_token="yes"), "_id_token: "),
        (PROVIDER, lambda entry: entry["attrs"].update(access_token_validity=15), "access_token_validity: "),
        (PROVIDER, lambda entry: entry["attrs"].update(client_id="x" * 256), "client_id: "),
        (PROVIDER, lambda entry: entry["attrs"].update(authorization_flow=None), "authorization_flow: "),
        (PROVIDER, lambda entry: entry["attrs"].pop("invalidation_flow"), "invalidation_flow: Field required"),
        (PROVIDER, lambda entry: entry["attrs"].update(redirect_uris=["https://a.test"]), "redirect_uris.0: "),
        (PROVIDER, lambda entry: entry["attrs"]["redirect_uris"][0].update(uri="x"), "uri: no such attribute"),
        (PROVIDER, lambda entry: entry["attrs"]["redirect_uris"][0].update(matching_mode="exact"), "matching_mode: "),
        (PROVIDER, lambda entry: entry["attrs"]["redirect_uris"][0].pop("url"), "redirect_uris.0.url: Field required"),
        (PROVIDER, lambda entry: entry["attrs"].update(signing_key=Find(PROVIDER, ())), "signing_key: "),
        (PROVIDER, lambda entry: entry["attrs"].update(signing_key=Find(KEY, (("title", "x"),))), "looked up by title"),
        (PROVIDER, lambda entry: entry["attrs"].update(signing_key=Find("a.b", ())), "a.b: nothing to look up"),
        (APPLICATION, lambda entry: entry["attrs"].update(provider=Find(GROUP, ())), "provider: "),
        (APPLICATION, lambda entry: entry["attrs"].update(policy_engine_mode="both"), "policy_engine_mode: "),
        (APPLICATION, lambda entry: entry["attrs"].pop("name"), "name: Field required"),
        (USER, lambda entry: entry["attrs"].update(active=True), "active: no such attribute"),
        (USER, lambda entry: entry["attrs"].update(type="person"), "type: Input should be"),
        (USER, lambda entry: entry["attrs"].update(password=None), "password: no text"),
        (USER, lambda entry: entry["attrs"].update(groups=["staff"]), "groups.0: "),
        (BINDING, lambda entry: entry["identifiers"].update(order="0"), "order: "),
        (BINDING, lambda entry: entry["attrs"].update(enabled="true"), "enabled: "),
        (EXPRESSION, lambda entry: entry["attrs"].pop("expression"), "expression: Field required"),
        (KEY, lambda entry: entry["attrs"].pop("certificate_data"), "certificate_data: Field required"),
        (BRAND, lambda entry: entry["attrs"].update(title="x"), "title: no such attribute"),
        (GROUP, lambda entry: entry.update(identifiers={}), "no identifiers"),
        (GROUP, lambda entry: entry.update(state="gone"), "gone: no such state"),
        (GROUP, lambda entry: entry.update(attributes={}), "attributes: no such key of an entry"),
        (GROUP, lambda entry: entry.update(state="absent"), "attributes of what is not to be"),
        (GROUP, lambda entry: entry.update(model="authentik_core.team"), "authentik_core.team: no such model"),
    ],
)  # fmt: skip
def test_what_authentik_would_refuse_or_ignore_is_found(
    model: str, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    found = changed(model, change)
    assert [fault for fault in found if said in fault], found


# --- What it says -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEXTS)
def test_only_our_step_applies_it(name: str) -> None:
    content = blueprints.read(TEXTS[name])
    assert content.keys() <= {"version", "metadata", "context", "entries"}
    assert content["version"] == 1
    assert content["metadata"]["labels"] == {"blueprints.goauthentik.io/instantiate": "false"}


def test_every_setting_of_the_provider_that_matters_is_written_out() -> None:
    entry = only(TEXTS["everything"], PROVIDER)
    flow = "authentik_flows.flow"
    assert entry["identifiers"] == {"name": "Reflector"}
    assert entry["attrs"] == {
        "authorization_flow": Find(flow, (("slug", "default-provider-authorization-implicit-consent"),)),
        "invalidation_flow": Find(flow, (("slug", "default-provider-invalidation-flow"),)),
        "client_type": "confidential",
        "client_id": "reflector",
        "client_secret": FileText("/run/reflector/client-secret"),
        "grant_types": ["authorization_code", "refresh_token"],
        "redirect_uris": [
            {"matching_mode": "strict", "url": "https://reflector.test:8443/api/auth/callback/authentik"}
        ],
        "property_mappings": [
            Find(
                "authentik_providers_oauth2.scopemapping",
                (("managed", f"goauthentik.io/providers/oauth2/scope-{scope}"),),
            )
            for scope in ("openid", "email", "profile", "offline_access")
        ],
        "signing_key": Find(KEY, (("name", "Reflector signing key"),)),
        "sub_mode": "user_upn",
        "issuer_mode": "per_provider",
        "include_claims_in_id_token": True,
        "access_code_validity": "minutes=1",
        "access_token_validity": "minutes=15",
        "refresh_token_validity": "days=30",
        "refresh_token_threshold": "seconds=0",
    }


def test_what_is_looked_up_of_ours_is_made_before() -> None:
    made: set[tuple[str, str]] = set()
    for entry in entries(TEXTS["everything"]):
        for tag in blueprints.tags(entry):
            if isinstance(tag, Find) and tag.model in blueprints.MODELS:
                ((_, value),) = tag.conditions
                assert (tag.model, value) in made, f"{entry['model']} refers to what comes later"
        made |= {(entry["model"], value) for value in entry["identifiers"].values() if isinstance(value, str)}


def test_the_flows_and_scopes_it_refers_to_come_with_what_is_applied_before() -> None:
    assert authentik.PACKAGED == (
        "default/flow-default-provider-authorization-implicit-consent.yaml",
        "default/flow-default-provider-invalidation.yaml",
        "system/providers-oauth2.yaml",
        "default/default-brand.yaml",
    )


def test_a_password_is_only_of_the_entry_that_makes_somebody() -> None:
    users = entries(TEXTS["everything"], USER)
    assert [(user["identifiers"]["username"], user["state"]) for user in users] == [
        (name, state) for name in ("admin", "jane", "joe") for state in ("created", "present")
    ]
    for user in users:
        secret = FileText(f"/run/reflector/password-{user['identifiers']['username']}")
        assert user["attrs"].get("password") == (secret if user["state"] == "created" else None)


def test_the_administrator_alone_has_a_subject_of_a_password() -> None:
    present = [user for user in entries(TEXTS["everything"], USER) if user["state"] == "present"]
    assert [user["attrs"].get("attributes") for user in present] == [
        {"upn": "local:admin@reflector.test"},
        None,
        None,
    ], "where there are none it must not say so: Authentik would take away what people chose"


def test_people_are_in_their_groups_and_in_no_other() -> None:
    present = [user for user in entries(TEXTS["everything"], USER) if user["state"] == "present"]
    staff = [Find(GROUP, (("name", "staff"),))]
    assert [user["attrs"]["groups"] for user in present] == [staff, staff, []]


@pytest.mark.parametrize(
    ("group", "domain", "found"),
    [
        (None, None, {(BINDING, "absent", 0), (EXPRESSION, "absent", None)}),
        ("staff", None, {(BINDING, "present", 0), (EXPRESSION, "absent", None)}),
        (None, "a.test", {(BINDING, "absent", 0), (EXPRESSION, "present", None), (BINDING, "present", 1)}),
        ("staff", "a.test", {(BINDING, "present", 0), (EXPRESSION, "present", None), (BINDING, "present", 1)}),
    ],
)
def test_what_is_no_longer_asked_for_is_absent_and_nothing_else_is(
    group: str | None, domain: str | None, found: set[tuple[str, str, int | None]]
) -> None:
    text = rendered(application(access_group=group, access_email_domain=domain))
    assert {
        (entry["model"], entry["state"], entry["identifiers"].get("order"))
        for entry in entries(text)
        if entry["model"] in (BINDING, EXPRESSION)
    } == found
    assert {entry["model"] for entry in entries(text) if entry["state"] == "absent"} <= {BINDING, EXPRESSION}
    assert only(text, APPLICATION)["attrs"]["policy_engine_mode"] == "all", "both together mean both"


@pytest.mark.parametrize(
    ("email", "enters"),
    [
        ("jane@a.test", True), ("Jane@A.Test", True), ("jane@sub.a.test", False), ("jane@xa.test", False),
        ("a.test@b.test", False), ("", False),
    ],
)  # fmt: skip
def test_the_expression_lets_in_whom_the_program_thinks_it_does(email: str, enters: bool) -> None:
    given = application(access_group=None, access_email_domain="a.test")
    expression = only(rendered(given), EXPRESSION)["attrs"]["expression"]

    class Request:
        class user:  # noqa: N801 - as Authentik calls it
            pass

    Request.user.email = email  # type: ignore[attr-defined]  # made here
    names: dict[str, Any] = {"request": Request}
    exec(f"def policy():\n    {expression}", names)
    assert names["policy"]() is enters
    assert given.may_enter(Person(user_name="jane", name="Jane", email=email)) is enters


def test_who_is_inactive_or_not_in_the_group_does_not_enter() -> None:
    given = application()
    jane, joe = given.others
    assert (given.may_enter(given.administrator), given.may_enter(jane), given.may_enter(joe)) == (True, True, False)
    assert not given.may_enter(Person(user_name="x", name="X", email="x@a.test", is_active=False, groups=("staff",)))


def test_an_authentik_elsewhere_gets_provider_and_application_and_keeps_its_people() -> None:
    text = TEXTS["for import"]
    assert [entry["model"] for entry in entries(text)] == [PROVIDER, APPLICATION]
    assert [tag for tag in blueprints.tags(blueprints.read(text)) if isinstance(tag, FileText)] == [], (
        "there are no files of ours"
    )
    assert "client_secret" not in only(text, PROVIDER)["attrs"]
    ours, theirs = (only(TEXTS[name], PROVIDER)["attrs"] for name in ("everything", "for import"))
    assert {name for name in ours if ours[name] != theirs.get(name)} == {"client_secret", "signing_key"}


def test_the_administrators_passwords_are_put_in_force_for_two_people() -> None:
    assert entries(TEXTS["administrators"]) == [
        {
            "model": USER,
            "state": "present",
            "conditions": [Find(USER, (("username", name),))],
            "identifiers": {"username": name},
            "attrs": {"password": FileText(f"/run/reflector/{secret}")},
        }
        for name, secret in (("akadmin", "administrator"), ("admin", "password-admin"))
    ]


def test_whoever_was_there_is_locked_out_and_is_not_made_again_for_it() -> None:
    """Authentik would refuse the whole blueprint for somebody without a name."""
    first = entries(TEXTS["farewells"])[:7]
    assert [(entry["model"], *entry["identifiers"].values(), entry["state"]) for entry in first] == [
        *((USER, name, "present") for name in ("gone", "yes", 'a"b', "joe")),
        (GROUP, "former group", "absent"),
        (GROUP, "null", "absent"),
        (APPLICATION, "former", "absent"),
    ]
    for entry in first[:4]:
        assert entry["conditions"] == [Find(USER, (("username", entry["identifiers"]["username"]),))]
        assert entry["attrs"] == {"is_active": False}
    assert entries(TEXTS["farewells"])[7:] == entries(TEXTS["everything"])


# --- Text -------------------------------------------------------------------------------------------------------------

ODD: Final = (
    "yes", "No", "NULL", "null", "~", "on", "true", "123", "1e3", "0x10", "0o17", "1_000", "1:30", "2026-11-27", ".inf",
    ".NaN", "-", "- a", "-x", "?", "? a", ":", "a: b", "a:", "a #b", "#b", "!x", "!File /etc/passwd", "&a", "*a", "@a",
    "`a", "%a", "|", ">", "[a", "{a: b}", "a, b", "'a", '"a', 'a "b" c', "it's", "a\\b", "\\n", "=", "<<", "---", "...",
    "é", "Ünïcode ☃", "日本語", "👩‍💻", "ﬁ", "entries:", "/", "_", ".", "y", "N", "a" * 100, "{{ x }}", "$x", "%(x)s",
)  # fmt: skip


@pytest.mark.parametrize("text", ODD)
def test_any_name_is_read_back_as_it_was(text: str) -> None:
    given = application(
        title=text,
        administrator=Person(user_name=text, name=text, email=text, groups=(text,), subject=text),
        others=(),
        groups=(text,),
        access_group=text,
    )
    for blueprint in (
        rendered(given),
        with_first(rendered(given), farewells({**BEFORE, "users": [text], "groups": [f"former {text}"]}, NOW)),
    ):
        assert only(blueprint, BRAND)["attrs"]["branding_title"] == text
        assert only(blueprint, APPLICATION, "present")["attrs"]["name"] == text
        assert only(blueprint, GROUP, "present")["identifiers"] == {"name": text}
        assert only(blueprint, BINDING)["attrs"]["group"] == Find(GROUP, (("name", text),))
        assert [fault for entry in entries(blueprint) for fault in faults(entry)] == []
    for user in entries(rendered(given), USER):
        assert (user["identifiers"], user["attrs"]["name"], user["attrs"]["email"]) == ({"username": text}, text, text)
    (created,) = (user for user in entries(rendered(given), USER) if user["state"] == "created")
    assert created["attrs"]["password"] == FileText(f"/run/reflector/password-{text}")


def test_the_reader_of_the_tests_is_strict() -> None:
    for text in ("a: !Env X", "a: !KeyOf x", "a: !unknown x", "a: 1\na: 2", "a: !!python/name:os.system x"):
        with pytest.raises(yaml.YAMLError):
            blueprints.read(text)


SECRETS: Final[Mapping[str, str]] = {name: f"Secret{number}" for number, name in enumerate(FULL.secrets)}


def test_every_secret_that_is_referred_to_is_named_and_no_other() -> None:
    referred = {
        tag.path
        for name in ("everything", "administrators")
        for tag in blueprints.tags(blueprints.read(TEXTS[name]))
        if isinstance(tag, FileText)
    }
    assert referred == {authentik.secret_file(name) for name in FULL.secrets}


def test_no_secret_is_in_the_text() -> None:
    text = authentik.blueprint(FULL, authentik.secrets_digest(SECRETS))
    assert not [secret for secret in SECRETS.values() if secret in text]


@pytest.mark.parametrize("name", SECRETS)
def test_another_secret_makes_another_text(name: str) -> None:
    other = {**SECRETS, name: "another"}
    assert authentik.secrets_digest(other) != authentik.secrets_digest(SECRETS)
    texts = {authentik.blueprint(FULL, authentik.secrets_digest(secrets)) for secrets in (SECRETS, other, SECRETS)}
    assert len(texts) == 2


def test_a_digest_tells_apart_what_only_looks_alike() -> None:
    digests = [
        authentik.secrets_digest(secrets)
        for secrets in ({"a": "xb", "b": "y"}, {"a": "x", "b": "by"}, {"a": "y", "b": "xb"}, {"a": "xb\0b\x001\0y"})
    ]
    assert len(set(digests)) == 4
    assert authentik.secrets_digest({"b": "y", "a": "xb"}) == digests[0], "whatever order they come in"


# --- Addresses --------------------------------------------------------------------------------------------------------


def next_auth_redirect_uri(nextauth_url: str) -> str:
    """Return where next-auth 4 sends codes: the URL constructor leaves out a port that is the scheme's own."""
    from urllib.parse import urlsplit

    parts = urlsplit(nextauth_url)
    port = "" if parts.port in (None, {"https": 443, "http": 80}[parts.scheme]) else f":{parts.port}"
    path = "/api/auth" if parts.path in ("", "/") else parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.hostname}{port}{path}/callback/authentik"


@pytest.mark.parametrize("edge", [{}, {"public_port": 443}, {"https_port": 8443}, {"public_port": 9443}], ids=repr)
@pytest.mark.parametrize("domain", ["a.test", "MÜNCHEN.example", "localhost"])
def test_codes_are_sent_where_next_auth_wants_them_on_any_port(edge: dict[str, Any], domain: str) -> None:
    found = parsed({"edge": {"domain": domain, **edge}, "sign_in": {"mode": "authentik", "admin_email": "me@a.test"}})
    web = environment.web(url=found.url, server_url="", kv_url="", nextauth_secret="")
    given = sign_in._application(found.sign_in, found.url, "me@a.test")  # type: ignore[arg-type]  # of this mode
    ((uri,),) = (entry["attrs"]["redirect_uris"] for entry in entries(rendered(given), PROVIDER))
    assert uri["url"] == next_auth_redirect_uri(web["NEXTAUTH_URL"])


def test_issuer_and_token_endpoint_have_the_slashes_authentik_and_next_auth_want() -> None:
    url = "https://auth.a.test:8443"
    assert authentik.issuer(url, "reflector") == "https://auth.a.test:8443/application/o/reflector/"
    assert authentik.token_url(url) == "https://auth.a.test:8443/application/o/token/"
    web = environment.provider_web(
        issuer=authentik.issuer(url, "reflector"), token_url=authentik.token_url(url), client_id="x", client_secret="y"
    )
    assert web["AUTHENTIK_ISSUER"] == "https://auth.a.test:8443/application/o/reflector", (
        "it adds /.well-known, and is redirected nowhere"
    )
    assert web["AUTHENTIK_REFRESH_TOKEN_URL"].endswith("/token/"), "a POST is not redirected"


# --- Variables --------------------------------------------------------------------------------------------------------

VARIABLES: Final = authentik.environment(
    url="https://auth.a.test:8443",
    administrator_email="me@a.test",
    trusted_proxies="10.0.0.0/24,fd00::/64",
    secret_key="key",
    administrator_hash="hash",
    database={"HOST": "postgres", "PORT": "5432", "NAME": "authentik", "USER": "authentik", "PASSWORD": "word"},
)


def test_it_listens_on_one_address_and_keeps_the_rest_to_itself() -> None:
    listeners = {name: value for name, value in VARIABLES.items() if "LISTEN__" in name and "CIDRS" not in name}
    assert listeners.pop("AUTHENTIK_LISTEN__HTTP") == f"0.0.0.0:{authentik.PORT}"
    assert len(listeners) == 5
    assert all(value.startswith("127.0.0.1:") for value in listeners.values())


def test_nobody_outside_hears_of_it_and_no_token_is_made() -> None:
    assert VARIABLES["AUTHENTIK_DISABLE_UPDATE_CHECK"] == "true"
    assert VARIABLES["AUTHENTIK_DISABLE_STARTUP_ANALYTICS"] == "true"
    assert VARIABLES["AUTHENTIK_ERROR_REPORTING__ENABLED"] == "false"
    assert VARIABLES["AUTHENTIK_AVATARS"] == "initials"
    assert not [name for name in VARIABLES if "TOKEN" in name or "REDIS" in name or name.endswith("BOOTSTRAP_PASSWORD")]
    assert json.dumps(VARIABLES, sort_keys=True).count("hash") == 1
