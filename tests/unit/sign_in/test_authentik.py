"""Authentik: a server and a worker nobody else can speak for, and Reflector as an application of it."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest

from components.application.reflector import Reflector
from components.base.handles import IdentityProvider
from components.edge.caddy import Caddy
from components.sign_in.authentik import CLOSED_PATHS, KEY_BITS, Authentik
from rendering import authentik as rendering
from rendering.environment import JWT_KEY_FILE
from rendering.password import django_hash
from testing import building
from testing.blueprints import FileText, read, tags
from testing.building import Built, environment_of, password_of, token_of
from testing.engine import is_secret, value_of

BUILT: Final = building.built("Authentik")
PROVIDER: Final[IdentityProvider] = BUILT.component.provider
PARTS: Final = ("server", "worker")
"""Both run the same image."""
PASSWORDS: Final = {
    "administrator": "it-akadmin", "password-admin": "it-initial-admin", "password-jane": "it-initial-jane",
    "password-joe": "it-initial-joe",
}  # fmt: skip


def state_of(built: Built) -> dict[str, Any]:
    """Return what the step is told."""
    return dict(json.loads(built.named("it-application").plain("stdin")))


STATE: Final = state_of(BUILT)


# --- Containers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
def test_it_runs_as_nobody_special_on_a_root_it_cannot_write_to(part: str) -> None:
    container = BUILT.named(f"it-{part}")
    assert container.plain("command") == ["ak", part]
    assert container.plain("user") == "1000:1000"
    assert container.plain("readOnly") is True
    assert container.plain("capabilities") == {"drops": ["ALL"]}
    assert [mount["containerPath"] for mount in container.plain("volumes")] == ["/data"]
    own = {"/dev/shm"} if part == "server" else {"/dev/shm", "/blueprints/custom", "/run/reflector"}
    assert set(container.plain("tmpfs")) == own
    for options in container.plain("tmpfs").values():
        assert {"uid=1000", "gid=1000", "mode=0700", "noexec", "nosuid", "nodev"} <= set(options.split(","))


def test_server_and_worker_have_a_volume_in_common_and_a_limit_of_their_own() -> None:
    containers = [BUILT.named(f"it-{part}") for part in PARTS]
    assert {container.plain("volumes")[0]["volumeName"] for container in containers} == {
        BUILT.named("it-data").plain("name")
    }
    assert [container.plain("memory") for container in containers] == [601, 602]


@pytest.mark.parametrize("part", PARTS)
def test_only_the_edge_and_the_database_are_on_its_networks(part: str) -> None:
    """Whoever is on the edge's can say for whom it asks."""
    networks = building.networks_of(BUILT.named(f"it-{part}"))
    assert networks.keys() == {"reflector-test-identity", "reflector-test-database"}
    assert BUILT.named("host-identity").plain("internal") is True
    assert "ports" not in BUILT.named(f"it-{part}").inputs


def test_no_other_service_is_where_authentik_believes_whoever_asks() -> None:
    identity = "reflector-test-identity"
    for component in building.COMPONENTS:
        for one in building.built(component).engine.resources:
            if one.type == building.CONTAINER and one.name not in ("it-server", "it-worker"):
                assert identity not in building.networks_of(one), one.name

    def edge(near: building.Neighbours) -> None:
        given = building.authentik_args(near, certificate=near.certificate("auth-certificate"))
        Caddy("edge", building.caddy_args(near, sites=[*near.sites(), *Authentik("it", given).provider.sites]))

    caddy = building.build(edge).named("edge-container")
    assert identity in building.networks_of(caddy)


@pytest.mark.parametrize("part", PARTS)
def test_it_is_told_all_it_needs_and_nothing_that_opens_it(part: str) -> None:
    told = environment_of(BUILT.named(f"it-{part}"))
    # As the daemon has chosen it.
    assert told["AUTHENTIK_LISTEN__TRUSTED_PROXY_CIDRS"] == "172.30.0.0/16"
    assert told["AUTHENTIK_LISTEN__HTTP"] == "0.0.0.0:9000"
    for name in ("HTTPS", "METRICS", "DEBUG", "DEBUG_PY", "DEBUG_TOKIO"):
        assert told[f"AUTHENTIK_LISTEN__{name}"].startswith("127.0.0.1:")
    assert told["AUTHENTIK_SECRET_KEY"] == token_of("it-secret-key")
    assert len(told["AUTHENTIK_SECRET_KEY"]) >= 50
    assert told["AUTHENTIK_WEB__BASE_URL"] == "https://auth.reflector.test:8443"
    assert told["AUTHENTIK_BOOTSTRAP_EMAIL"] == "admin@reflector.test"
    database = {name: told[f"AUTHENTIK_POSTGRESQL__{name}"] for name in ("HOST", "PORT", "NAME", "USER", "PASSWORD")}
    assert database == {
        "HOST": "sql", "PORT": "15432", "NAME": "authentik", "USER": "authentik-user",
        "PASSWORD": building.DATABASE_PASSWORD,
    }  # fmt: skip
    assert not [name for name in told if "REDIS" in name or "BOOTSTRAP_TOKEN" in name]
    assert "AUTHENTIK_BOOTSTRAP_PASSWORD" not in told
    assert all(value for value in told.values())


def test_server_and_worker_are_told_the_same() -> None:
    """Whichever starts first makes the administrator."""
    server, worker = (environment_of(BUILT.named(f"it-{part}")) for part in PARTS)
    assert server == worker


@pytest.mark.parametrize("part", PARTS)
def test_its_variables_travel_as_a_secret_and_hold_a_hash_instead_of_the_password(part: str) -> None:
    container = BUILT.named(f"it-{part}")
    assert container.is_secret("envs")
    assert environment_of(container)["AUTHENTIK_BOOTSTRAP_PASSWORD_HASH"] == django_hash(
        password_of("it-akadmin"), token_of("it-akadmin-salt", 16)
    )
    assert password_of("it-akadmin") not in container.text()


# --- The step ---------------------------------------------------------------------------------------------------------


def test_it_is_told_of_reflector_in_the_worker_once_the_server_is_there() -> None:
    step = BUILT.named("it-application")
    assert step.plain("interpreter") == ["python3", "-c"]
    assert step.plain("environment")["CONTAINER"] == "reflector-test-authentik-worker"
    assert step.plain("environment")["SERVER_ID"] == "it-server-id", "another server is another one to prove it of"
    for part in PARTS:
        assert building.depends_on(BUILT.engine, step, f"it-{part}")


def test_what_the_step_is_told_is_a_secret_and_its_script_holds_none() -> None:
    step = BUILT.named("it-application")
    assert step.is_secret("stdin")
    assert set(STATE["secrets"]) == set(building.application().secrets)
    assert not [secret for secret in STATE["secrets"].values() if secret in building.script_of(step)]
    secret = [text for name, text in STATE["secrets"].items() if name != "signing-certificate"]
    assert building.in_the_open(BUILT.engine.resources, secret) == []


def test_the_blueprint_refers_to_each_secret_and_holds_none() -> None:
    for name in ("blueprint", "administrators_blueprint"):
        assert not [secret for secret in STATE["secrets"].values() if building.searchable(secret) in STATE[name]]
    referred = {tag.path for tag in tags(read(STATE["blueprint"])) if isinstance(tag, FileText)}
    assert referred | {rendering.secret_file("administrator")} == {
        f"{STATE['secrets_directory']}/{name}" for name in STATE["secrets"]
    }


def test_everybody_has_a_password_of_their_own() -> None:
    assert {name: STATE["secrets"][name] for name in PASSWORDS} == {
        name: password_of(resource) for name, resource in PASSWORDS.items()
    }


def test_what_it_has_to_prove_is_what_reflector_is_told() -> None:
    proof = STATE["proof"]
    assert proof["address"] == "authentik.identity:9000"
    assert proof["redirect_uri"] == "https://reflector.test:8443/api/auth/callback/authentik"
    assert proof["issuer"].rstrip("/") == PROVIDER.web["AUTHENTIK_ISSUER"]
    assert proof["token_url"] == PROVIDER.web["AUTHENTIK_REFRESH_TOKEN_URL"]
    assert proof["client_secret"] == value_of(PROVIDER.web["AUTHENTIK_CLIENT_SECRET"])  # type: ignore[arg-type]  # an output
    assert proof["administrator_password"] == password_of("it-akadmin")
    lines = STATE["secrets"]["signing-certificate"].splitlines()
    assert "".join(lines[lines.index("-----BEGIN CERTIFICATE-----") + 1 : -1]) == proof["certificate"]


def test_who_may_enter_is_told_so_that_others_are_locked_out() -> None:
    assert STATE["now"] == {
        "slugs": ["reflector"], "users": ["admin", "jane", "joe"], "groups": ["staff"], "allowed": ["admin", "jane"],
    }  # fmt: skip


# --- Keys and generations ---------------------------------------------------------------------------------------------


def test_tokens_are_signed_with_an_rsa_key_of_our_own() -> None:
    key = BUILT.named("it-signing-key-1")
    assert (key.plain("algorithm"), key.plain("rsaBits")) == ("RSA", KEY_BITS)
    assert KEY_BITS >= 2048
    assert BUILT.named("it-signing-certificate-1").is_secret("privateKeyPem")


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"signing_key_generation": 2}, {"it-signing-key-2", "it-signing-certificate-2"}),
        ({"client_secret_generation": 2}, {"it-client-secret-2"}),
    ],
)
def test_another_generation_makes_that_anew_and_nothing_else(given: Mapping[str, int], made: set[str]) -> None:
    other = building.build(lambda near: Authentik("it", building.authentik_args(near, **given)))
    before, after = ({one.name: one for one in built.engine.resources} for built in (BUILT, other))
    assert after.keys() - before.keys() == made
    assert before.keys() - after.keys() == {name.replace("-2", "-1") for name in made}
    same = {name for name in after if name in before and after[name].text() == before[name].text()}
    assert before.keys() & after.keys() - same == {"it-application"}, "it is told, and no container is made anew"
    assert state_of(other)["blueprint"] != STATE["blueprint"], "or Authentik would not look"


def test_without_another_generation_all_is_the_same() -> None:
    again = building.build(lambda near: Authentik("it", building.authentik_args(near)))
    assert again.named("it-application").text() == BUILT.named("it-application").text()


# --- What is handed over ----------------------------------------------------------------------------------------------


def test_passwords_are_handed_over_as_secrets() -> None:
    assert PROVIDER.admin_email == "admin@reflector.test"
    assert PROVIDER.admin_password is not None
    assert is_secret(PROVIDER.admin_password)
    assert value_of(PROVIDER.admin_password) == password_of("it-initial-admin")
    described: Any = PROVIDER.described
    assert (described["administrator"], described["url"]) == ("akadmin", "https://auth.reflector.test:8443")
    assert described["initial_passwords"].keys() == {"admin", "jane", "joe"}
    for secret in (described["administrator_password"], *described["initial_passwords"].values()):
        assert is_secret(secret)


@pytest.mark.parametrize(("closed", "expected"), [({}, CLOSED_PATHS), ({"closed_paths": ()}, ())])
def test_the_edge_is_handed_a_site_that_refuses_what_runs_code_there(
    closed: dict[str, Any], expected: tuple[str, ...]
) -> None:
    built = building.build(lambda near: Authentik("it", building.authentik_args(near, **closed)))
    (site,) = built.component.provider.sites
    assert (site.names, site.network, tuple(site.closed)) == (["auth.reflector.test"], "identity", expected)
    assert [(route.paths, route.upstream) for route in site.routes] == [((), "http://authentik:9000")]
    assert list(site.ready) == [built.component.provider.ready[0]], "nobody is led there before it is proven"


def test_backends_start_once_it_is_proven_and_pages_after_them() -> None:
    def build(near: building.Neighbours) -> IdentityProvider:
        provider = Authentik("it", building.authentik_args(near)).provider
        Reflector("app", building.reflector_args(near, identity=provider))
        return provider

    built = building.build(build)
    step = built.named("it-application")
    backends = [built.named(f"app-{role}") for role in ("server", "worker", "hatchet-worker-llm", "beat")]
    for backend in backends:
        assert building.depends_on(built.engine, backend, step.name)
        (key,) = (one for one in backend.plain("uploads") if one["file"] == JWT_KEY_FILE)
        assert key["content"] == value_of(built.component.public_key_pem)
        assert key["content"].startswith("-----BEGIN PUBLIC KEY-----")
    web = built.named("app-web")
    assert building.depends_on(built.engine, web, "app-server")
    assert environment_of(web)["AUTHENTIK_CLIENT_SECRET"] == token_of("it-client-secret-1")
    assert JWT_KEY_FILE not in [one["file"] for one in web.plain("uploads")]
    assert not building.depends_on(built.engine, step, "app-server")
