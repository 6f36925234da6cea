"""The probe's Authentik takes the blueprints the real one takes, and refuses more."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from probe.authentik_access import may_use
from probe.authentik_blueprint import BlueprintError, apply, listed, load, retrieve, validate
from probe.authentik_expressions import ExpressionError, compile_expression
from probe.authentik_models import MODELS
from probe.authentik_passwords import hash_password, is_usable, verify_password
from probe.authentik_registry import Object, Registry

from rendering import authentik as rendering
from testing import building
from tests.unit.probe_authentik import (
    APPLICATION,
    PROVIDER,
    SECRET,
    applied,
    certificate_entry,
    document,
    find,
    key_pair,
    packaged_registry,
    whole,
    written,
)

CERTIFICATE, KEY = key_pair()


@pytest.fixture(scope="module")
def packaged() -> Registry:
    return packaged_registry()


@pytest.fixture
def registry(packaged: Registry) -> Registry:
    return copy.deepcopy(packaged)


def one(registry: Registry, model: str, **conditions: Any) -> Object:
    found = registry.find(model, conditions)
    assert found is not None
    return found


def entry(
    attrs: str = "{}", *, model: str = "authentik_core.group", identifiers: str = "{name: G}", more: str = ""
) -> str:
    return f"\n  - model: {model}\n    identifiers: {identifiers}\n    attrs: {attrs}\n{more}"


def refused(registry: Registry, text: str) -> str:
    """The lines shown for a blueprint that is invalid; nothing may have changed."""
    before = copy.deepcopy(registry)
    log = applied(registry, text)
    assert log, "it was taken"
    assert registry == before
    return "\n".join(listed(log))


def test_the_blueprint_of_a_deployment_is_taken_twice_without_a_change(registry: Registry) -> None:
    assert applied(registry, whole()) == []
    after = copy.deepcopy(registry)
    assert applied(registry, whole()) == []
    assert registry == after
    provider = one(registry, "authentik_providers_oauth2.oauth2provider", name="Reflector")
    assert provider["signing_key"] == one(registry, "authentik_crypto.certificatekeypair", name="Reflector")["pk"]
    assert len(provider["property_mappings"]) == 4
    assert one(registry, "authentik_core.user", username="ada")["attributes"] == {"upn": "local:ada@reflector.example"}


@pytest.mark.parametrize("domain", [None, "reflector.example"])
def test_our_own_blueprint_is_taken_and_says_who_may_enter(
    registry: Registry, domain: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "SECRETS_DIRECTORY", str(tmp_path))
    given = building.application(access_email_domain=domain)
    for name in given.secrets:
        kept = {"signing-certificate": CERTIFICATE, "signing-key": KEY}.get(name, f"secret {name}")
        written(tmp_path, name, kept)
    for _ in range(2):
        assert applied(registry, rendering.blueprint(given, "digest")) == []
    application = one(registry, "authentik_core.application", slug=given.slug)
    for person in given.people:
        user = one(registry, "authentik_core.user", username=person.user_name)
        assert verify_password(f"secret {person.password}", user["password"])
        assert (bool(user["is_active"]) and may_use(registry, application, user)) == given.may_enter(person)
    registry.update("authentik_core.user", one(registry, "authentik_core.user", username="admin"), {"password": "!"})
    registry.add("authentik_core.user", {**user, "username": "akadmin", "email": "root@reflector.example"})
    assert applied(registry, rendering.administrators_blueprint(given.administrator)) == []
    for name in ("admin", "akadmin"):
        assert is_usable(one(registry, "authentik_core.user", username=name)["password"])


def test_all_entries_count_or_none(registry: Registry) -> None:
    shown = refused(registry, document(entry(), entry(identifiers="{nme: H}")))
    assert "Invalid identifier field: Cannot resolve keyword 'nme' into field. Choices are: " in shown


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (entry(model="authentik_core.grop"), "App or Model does not exist: {'app': 'authentik_core', 'model': 'grop'}"),
        (entry(model="authentik_core.token"), "App or Model does not exist"),
        (entry(model="authentik_flows.flow", identifiers="{slug: mine}"), "Model authentik_flows.flow not allowed"),
        (entry(identifiers="{}"), "No or invalid identifiers"),
        (entry("{colour: red}"), "ErrorDetail(string='unknown attribute"),
        (entry("{managed: x}", model="authentik_crypto.certificatekeypair"), "ErrorDetail(string='read-only"),
        (entry("{is_superuser: sure}"), "Must be a valid boolean."),
        (entry("{attributes: [1]}"), "Value must be a dictionary"),
        (entry("{parents: [no-group]}"), 'Invalid pk "no-group" - object does not exist.'),
        (entry(f"{{parents: [{find('authentik_core.group', name='none')}]}}"), "received NoneType"),
        (entry("{is_superuser: null}"), "ErrorDetail(string='This field may not be null.', code='null')"),
        (entry("{a: !Find [authentik_core.nothing, [name, x]]}"), "No installed app with label and model"),
        (entry("{a: !Find [authentik_core.group, [nme, x]]}"), "Cannot resolve keyword 'nme'"),
        (entry("{attributes: {a: !Format ['%s %s', 1]}}"), "not enough arguments for format string"),
        (entry("{attributes: {a: !KeyOf nobody}}"), "KeyOf: failed to find entry with `id` of `nobody`"),
        (entry("{name: N}", model="authentik_core.user", identifiers="{username: ''}"), "may not be blank"),
        (entry("{email: a@b}", model="authentik_core.user", identifiers="{username: u}"), "This field is required."),
        (
            entry("{name: N, email: nobody}", model="authentik_core.user", identifiers="{username: u}"),
            "Enter a valid email address.",
        ),
        (
            entry("{name: N, type: robot}", model="authentik_core.user", identifiers="{username: u}"),
            '"robot" is not a valid choice.',
        ),
        (
            entry("{name: N, path: /a/}", model="authentik_core.user", identifiers="{username: u}"),
            "No leading or trailing slashes allowed.",
        ),
        (
            entry("{name: R}", model="authentik_core.application", identifiers="{slug: token}"),
            "The slug 'token' is reserved",
        ),
        (entry("{name: R}", model="authentik_core.application", identifiers="{slug: a b}"), "Enter a valid “slug”"),
        (
            entry(
                "{expression: 'return ('}",
                model="authentik_policies_expression.expressionpolicy",
                identifiers="{name: p}",
            ),
            "Expression Syntax Error",
        ),
        (
            entry("{certificate_data: x}", model="authentik_crypto.certificatekeypair", identifiers="{name: c}"),
            "Unable to load certificate.",
        ),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_changes(registry: Registry, text: str, reason: str) -> None:
    shown = refused(registry, document(text))
    assert shown.startswith("Blueprint invalid\n\tauthentik.blueprints.v1.importer: ")
    assert reason in shown
    assert shown.endswith("\tauthentik.blueprints.v1.importer: Blueprint validation failed: {}")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("grant_types: [authorization_code, refresh_token]", "client_id: reflector", "grant_types': [ErrorDetail"),
        ("grant_types: [authorization_code,", "grant_types: [code,", '"code" is not a valid choice.'),
        (find("authentik_crypto.certificatekeypair", name="Reflector"), "null", "tokens would be signed HS256"),
        (f"client_secret: {SECRET}", "client_secret: ''", "client_secret': [ErrorDetail(string='is empty"),
        (f"client_secret: {SECRET}", "client_secret: null", "This field may not be null."),
        (f"client_secret: {SECRET}", "client_secret: geheím", "Only printable ASCII"),
        (
            "slug, default-provider-invalidation-flow",
            "slug, other",
            "invalidation_flow': [ErrorDetail(string='This field m",
        ),
        ("scope-email", "scope-mail", "received NoneType"),
        ("matching_mode: strict, ", "", "matching_mode: This field is required."),
        ("matching_mode: strict", "matching_mode: exact", '"exact" is not a valid choice.'),
        ("redirect_uri_type: authorization", "kind: x", "unknown key kind"),
        ("access_token_validity: minutes=5", "access_token_validity: 5m", "not in the correct format of"),
        ("access_token_validity: minutes=5", "access_token_validity: minute=5", "not in the correct format of"),
        ("sub_mode: user_upn", "sub_mode: upn", '"upn" is not a valid choice.'),
        ("client_id: reflector", "client_id: 7", "Not a valid string."),
    ],
)
def test_a_provider_that_would_not_work_is_refused(registry: Registry, old: str, new: str, reason: str) -> None:
    assert old in PROVIDER
    assert reason in refused(registry, document(certificate_entry(), PROVIDER.replace(old, new)))


def test_certificate_and_key_must_belong_together(registry: Registry) -> None:
    other = key_pair(name="other")
    shown = refused(registry, document(certificate_entry((CERTIFICATE, other[1]))))
    assert "certificate and key do not belong together" in shown


def test_the_failing_entry_is_shown_with_its_secrets_as_the_real_one_does(registry: Registry, tmp_path: Path) -> None:
    """Whoever runs it has to hide them: that is what these lines are for."""
    secret = written(tmp_path, "secret", "\nfrom-the-file\n")
    provider = PROVIDER.replace(SECRET, f"!File {secret}").replace("sub_mode: user_upn", "sub_mode: upn")
    text = document(certificate_entry(), provider)
    assert "'client_secret': 'from-the-file'" in refused(registry, text)
    broken = certificate_entry().replace("key_data: ", "colour: red, key_data: ")
    # A list's repr: line ends are escaped.
    assert KEY.replace("\n", "\\n") in refused(registry, document(broken))


def test_a_file_is_stripped_and_a_missing_one_is_warned_of(registry: Registry, tmp_path: Path) -> None:
    secret = written(tmp_path, "secret", "  abc \n")
    assert applied(registry, document(certificate_entry(), PROVIDER.replace(SECRET, f"!File {secret}"))) == []
    provider = one(registry, "authentik_providers_oauth2.oauth2provider", name="Reflector")
    assert provider["client_secret"] == "abc"
    missing = PROVIDER.replace(SECRET, f"!File {tmp_path}/none")
    shown = refused(registry, document(certificate_entry(), missing))
    assert "\tauthentik.blueprints.v1.common: Failed to read file. Falling back to default value: " in shown
    assert "This field may not be null." in shown
    fallback = PROVIDER.replace(SECRET, f"!File [{tmp_path}/none, other]")
    assert applied(registry, document(certificate_entry(), fallback)) == []


def test_the_other_tags(registry: Registry) -> None:
    attributes = """
      attributes:
        env: !Env SET
        empty: !Env [EMPTY, default]
        context: !Context digest
        missing: !Context [none, other]
        format: !Format ["%s-%d", !Context digest, 7]
        if: !If [!Env NONE, yes, no]
        bare: !If [1]
        all: !Condition [AND, true, !Env SET]
        odd: !Condition [XOR, true, true, true]
        of: !KeyOf first
"""
    text = document(
        "\n  - model: authentik_core.group\n    id: first\n    identifiers: {name: first}\n",
        f"\n  - model: authentik_core.group\n    identifiers: {{name: G}}\n    attrs:{attributes}",
    ).replace("entries:", "context: {digest: abc}\nentries:", 1)
    assert applied(registry, text, SET="here", EMPTY="") == []
    found = one(registry, "authentik_core.group", name="G")["attributes"]
    first = one(registry, "authentik_core.group", name="first")["pk"]
    assert found == {
        "env": "here",
        "empty": "default",
        "context": "abc",
        "missing": "other",
        "format": "abc-7",
        "if": False,
        "bare": True,
        "all": True,
        "odd": True,
        "of": first,
    }


@pytest.mark.parametrize("value", ["!Secret x", "!Enumerate [1, SEQ, 2]", "!Find x", "!KeyOf [a]", "!File [x]"])
def test_an_unknown_tag_or_form_of_one_is_no_yaml(value: str) -> None:
    with pytest.raises(yaml.YAMLError):
        load(document(entry(f"{{attributes: {{a: {value}}}}}")))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "is a mapping"),
        ("version: 1", 'field "entries"'),
        ("version: 1\nentries: []\nlabels: {}", "unknown key 'labels' in blueprint"),
        ("version: 1\nmetadata: {labels: {}}\nentries: []", "metadata.name"),
        ("version: 1\nmetadata: {name: n, labels: {a: false}}\nentries: []", "metadata.labels"),
        (document("\n  - identifiers: {name: x}\n"), "entries.model"),
        (document(entry(more="    attributes: {}\n")), "unknown key 'attributes' in entry"),
        (document("\n  - model: authentik_core.group\n    identifiers: []\n"), "entries.identifiers"),
    ],
)
def test_what_is_no_blueprint_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BlueprintError, match=reason):
        load(text)


def test_another_version_is_refused(registry: Registry) -> None:
    assert refused(registry, "version: 2\nentries: []") == "Blueprint invalid\n\tNone: Invalid blueprint version: {}"


def test_an_unknown_state_is_refused(registry: Registry) -> None:
    with pytest.raises(ValueError, match="'gone' is not a valid DesiredState"):
        applied(registry, document(entry(more="    state: gone\n")))


def test_states(registry: Registry) -> None:
    def state(name: str, attrs: str) -> str:
        return document(entry(attrs, more=f"    state: {name}\n"))

    assert applied(registry, state("created", "{attributes: {a: 1}}")) == []
    assert applied(registry, state("created", "{attributes: {a: 2}}")) == []
    assert one(registry, "authentik_core.group", name="G")["attributes"] == {"a": 1}
    assert "unknown attribute" in refused(registry, state("created", "{colour: red}"))
    assert applied(registry, state("present", "{is_superuser: true}")) == []
    assert one(registry, "authentik_core.group", name="G")["attributes"] == {"a": 1}
    assert "object exists already" in refused(registry, state("must_created", "{}"))
    for _ in range(2):
        assert applied(registry, state("absent", "{}")) == []
        assert registry.find("authentik_core.group", {"name": "G"}) is None
    assert applied(registry, state("must_created", "{}")) == []


def test_an_entry_whose_conditions_do_not_hold_is_passed_over(registry: Registry) -> None:
    text = document(entry("{colour: red}", more="    conditions: [true, !Env NONE]\n"))
    assert applied(registry, text) == []
    assert registry.find("authentik_core.group", {"name": "G"}) is None


def test_the_first_password_is_the_users_from_then_on(registry: Registry) -> None:
    assert applied(registry, whole()) == []
    user = one(registry, "authentik_core.user", username="ada")
    assert verify_password("first password", user["password"])
    user["password"] = hash_password("their own", iterations=10)
    assert applied(registry, whole()) == []
    assert verify_password("their own", one(registry, "authentik_core.user", username="ada")["password"])


def test_a_password_comes_in_clear_or_as_a_hash(registry: Registry) -> None:
    def user(attrs: str) -> str:
        return document(entry(f"{{name: N, {attrs}}}", model="authentik_core.user", identifiers="{username: u}"))

    made = hash_password("pw", iterations=10)
    assert applied(registry, user(f"password_hash: {made}")) == []
    assert one(registry, "authentik_core.user", username="u")["password"] == made
    with pytest.raises(ValueError, match="Cannot set both password and password_hash"):
        applied(registry, user(f"password: x, password_hash: {made}"))
    with pytest.raises(ValueError, match="Invalid password hash") as problem:
        applied(registry, user("password_hash: pbkdf2:sha256:1$a$b"))
    assert "$a$b" not in str(problem.value)
    assert (
        applied(registry, document(entry("{name: N}", model="authentik_core.user", identifiers="{username: v}"))) == []
    )
    assert not is_usable(one(registry, "authentik_core.user", username="v")["password"])


BINDING = f"""
  - model: authentik_policies.policybinding
    identifiers: {{target: {find("authentik_core.application", slug="reflector")}, order: 10}}
"""
GROUP_BINDING = BINDING + f"    attrs: {{group: {find('authentik_core.group', name='Meetings')}}}\n"
POLICY = """
  - model: authentik_policies_expression.expressionpolicy
    identifiers: {name: domain}
    attrs: {expression: 'return request.user.email.endswith("@reflector.example")'}
"""
POLICY_BINDING = BINDING.replace("10", "20") + (
    f"    attrs: {{policy: {find('authentik_policies_expression.expressionpolicy', name='domain')}}}\n"
)


def test_access_by_group_and_by_domain(registry: Registry) -> None:
    assert applied(registry, whole(GROUP_BINDING, POLICY, POLICY_BINDING)) == []
    application = one(registry, "authentik_core.application", slug="reflector")
    ada = one(registry, "authentik_core.user", username="ada")
    assert may_use(registry, application, ada)
    assert not may_use(registry, application, {**ada, "groups": []})
    assert not may_use(registry, application, {**ada, "email": "ada@elsewhere.example"})
    application["policy_engine_mode"] = "any"
    assert may_use(registry, application, {**ada, "groups": []})
    absent = document(
        BINDING + "    state: absent\n",
        POLICY.partition("    attrs")[0] + "    state: absent\n",
    )
    assert applied(registry, absent) == []
    # The policy took its own binding with it.
    assert registry.all("authentik_policies.policybinding") == []
    assert may_use(registry, application, {**ada, "groups": [], "email": ""})


def test_a_binding_has_exactly_one_of_three(registry: Registry) -> None:
    shown = refused(registry, whole(BINDING))
    assert "One of 'group', 'policy', 'user' must be set." in shown
    both = GROUP_BINDING.replace("attrs: {", f"attrs: {{user: {find('authentik_core.user', username='ada')}, ")
    assert "Only one of 'group', 'policy', 'user' can be set." in refused(registry, whole(both))
    assert applied(registry, whole(GROUP_BINDING)) == []
    # The group stays where the text only names another: the real one would keep both, and heed the policy.
    assert "Only one of" in refused(registry, whole(POLICY, POLICY_BINDING.replace("20", "10")))


def test_an_application_has_a_provider_of_its_own(registry: Registry) -> None:
    again = APPLICATION.replace("slug: reflector", "slug: other")
    assert "application with this provider already exists." in refused(registry, whole(again))


def test_what_goes_takes_what_hangs_on_it(registry: Registry) -> None:
    assert applied(registry, whole(GROUP_BINDING)) == []
    gone = "\n  - model: {}\n    identifiers: {{name: {}}}\n    state: absent\n"
    assert applied(registry, document(gone.format("authentik_core.group", "Meetings"))) == []
    assert registry.all("authentik_policies.policybinding") == []
    assert one(registry, "authentik_core.user", username="ada")["groups"] == []
    assert applied(registry, document(gone.format("authentik_crypto.certificatekeypair", "Reflector"))) == []
    assert one(registry, "authentik_providers_oauth2.oauth2provider", name="Reflector")["signing_key"] is None
    assert applied(registry, document(gone.format("authentik_providers_oauth2.oauth2provider", "Reflector"))) == []
    assert one(registry, "authentik_core.application", slug="reflector")["provider"] is None
    assert ("provider", 1) in registry.ended


def test_numbers_are_never_given_twice(registry: Registry) -> None:
    def user(name: str, state: str = "present") -> str:
        return document(
            entry(
                "{name: N}",
                model="authentik_core.user",
                identifiers=f"{{username: {name}}}",
                more=f"    state: {state}\n",
            )
        )

    for text in (user("one"), user("one", "absent"), user("two")):
        assert applied(registry, text) == []
    assert one(registry, "authentik_core.user", username="two")["pk"] == 2


def test_a_groups_list_of_users_replaces_its_members(registry: Registry) -> None:
    assert applied(registry, whole()) == []
    assert applied(registry, document(entry("{users: []}", identifiers="{name: Meetings}"))) == []
    assert one(registry, "authentik_core.user", username="ada")["groups"] == []
    member = f"{{users: [{find('authentik_core.user', username='ada')}]}}"
    assert applied(registry, document(entry(member, identifiers="{name: Meetings}"))) == []
    group = one(registry, "authentik_core.group", name="Meetings")
    assert one(registry, "authentik_core.user", username="ada")["groups"] == [group["pk"]]


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ('return request.user.email.endswith("@reflector.example")', True),
        ('return request.user.email.lower().endswith(("@a.example", "@reflector.example"))', True),
        ('return request.user.email.rpartition("@")[2] in ["a.example"]', False),
        ('domain = request.user.email.split("@")[-1]\nreturn domain == "reflector.example" and not False', True),
        ('return ak_is_group_member(request.user, name="Meetings")', True),
        ("return request.user.username != 'ada'", False),
        ("domain = 1", False),
    ],
)
def test_expressions(text: str, passes: bool) -> None:
    user = {"email": "ada@reflector.example", "username": "ada", "name": "Ada"}
    assert compile_expression(text).evaluate(user, frozenset(["Meetings"])) is passes


@pytest.mark.parametrize(
    "text",
    ["return open('/x')", "import os", "return request.user.password", "return [x for x in 'a']", "return ("],
)
def test_no_other_expression_is_run(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(text).evaluate({"email": "", "username": "", "name": ""}, frozenset())


def test_a_blueprint_is_found_below_its_folder_only(tmp_path: Path) -> None:
    (tmp_path / "custom").mkdir()
    written(tmp_path / "custom", "reflector.yaml", "version: 1")
    assert retrieve(tmp_path, "custom/reflector.yaml") == "version: 1"
    with pytest.raises(BlueprintError, match="No such file"):
        retrieve(tmp_path, "custom/other.yaml")
    with pytest.raises(BlueprintError, match="Invalid blueprint path"):
        retrieve(tmp_path, "../etc/passwd")


def test_a_trial_changes_nothing(registry: Registry) -> None:
    before = copy.deepcopy(registry)
    assert validate(load(whole()), registry, {}) is None
    assert registry == before
    assert apply(load(whole()), registry, {}) == []
    assert registry != before


def test_every_reference_leads_to_a_model() -> None:
    fields = [field for model in MODELS.values() for field in model.fields.values()]
    assert {field.reference for field in fields if field.reference} <= MODELS.keys()
