"""Reflector itself: each process is told what it needs, after what it needs is there."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest

from components import application
from components.application.reflector import Reflector
from components.base.handles import Service, Site, SpeechServices
from rendering import startup
from rendering.caddyfile import PAGES
from rendering.environment import JWT_KEY_FILE, SERVER_PORT
from settings.application import Application, Server, Web
from settings.edge import Edge
from testing import building
from testing.building import Neighbours, environment_of, token_of

POOLS = {"server": 10, "worker": 2, "hatchet-worker-llm": 2, "beat": 1}
BACKEND = ["server", "worker", "hatchet-worker-llm", "beat"]
BUILT = building.built("Reflector")


def environment(role: str) -> Mapping[str, str]:
    return environment_of(BUILT.named(f"it-{role}"))


@pytest.mark.parametrize("role", BACKEND)
def test_every_backend_role_plays_its_own_part_with_the_same_secrets(role: str) -> None:
    told = environment(role)
    assert told["ENTRYPOINT"] == role
    assert told["SECRET_KEY"] == token_of("it-secret-key")
    assert told["HATCHET_CLIENT_TOKEN"] == building.HATCHET_TOKEN
    assert told["TRANSCRIPT_STORAGE_AWS_SECRET_ACCESS_KEY"] == building.STORE_SECRET
    assert told["LLM_API_KEY"] == building.MODEL_KEY
    assert told["TRANSCRIPT_MODAL_API_KEY"] == building.SPEECH_KEY
    assert told["HF_TOKEN"] == building.HF_TOKEN


@pytest.mark.parametrize("role", BACKEND)
def test_every_backend_role_reaches_what_it_was_handed(role: str) -> None:
    told = environment(role)
    url, _, pool = told["DATABASE_URL"].partition("?")
    assert url == (f"postgresql+asyncpg://reflector-user:{building.DATABASE_PASSWORD}@sql:15432/reflector"), (
        "the backend speaks to its database asynchronously"
    )
    assert pool == f"min_size=1&max_size={POOLS[role]}"
    assert (told["REDIS_HOST"], told["REDIS_PORT"]) == ("keys", "16379")
    assert told["CELERY_BROKER_URL"] == told["CELERY_RESULT_BACKEND"] == "redis://keys:16379/1"
    assert (told["HATCHET_CLIENT_SERVER_URL"], told["HATCHET_CLIENT_HOST_PORT"]) == ("http://flow:18888", "flow:17077")
    assert told["TRANSCRIPT_STORAGE_AWS_ENDPOINT_URL"] == "https://s3.reflector.test"
    assert building.networks_of(BUILT.named(f"it-{role}")).keys() == {
        "reflector-test-application", "reflector-test-cache", "reflector-test-database",
    }  # fmt: skip


def test_the_identity_provider_tells_each_kind_of_process_what_is_for_it() -> None:
    assert environment("server")["SERVER_SIGN_IN"] == building.ADMIN_HASH
    for role in BACKEND:
        assert environment(role)["BACKEND_SIGN_IN"] == "backend", role
        assert ("SERVER_SIGN_IN" in environment(role)) is (role == "server"), "the others have no use for it"
    assert environment("web")["WEB_SIGN_IN"] == "web"
    assert {"SERVER_SIGN_IN", "BACKEND_SIGN_IN"}.isdisjoint(environment("web"))


def test_the_server_believes_the_edges_network_about_a_request_and_nobody_else() -> None:
    # As the daemon has chosen it; "*" would believe whoever reaches the port.
    assert environment("server")["FORWARDED_ALLOW_IPS"] == "172.30.0.0/16"
    for role in ("worker", "beat", "hatchet-worker-llm", "web"):
        assert "FORWARDED_ALLOW_IPS" not in environment(role), "nobody asks it through the edge"


def test_the_api_answers_at_every_name_and_pages_at_the_canonical_one() -> None:
    site = BUILT.component.site
    assert [(bool(route.paths), route.canonical) for route in site.routes] == [(True, False), (False, True)]


def test_the_server_waits_for_everything_it_uses() -> None:
    kinds = ["database", "cache", "object_store", "speech", "language_model", "workflow", "identity"]

    def build(near: Neighbours) -> None:
        # Each is ready with a thing of its own, so that none is waited for by way of another.
        given = {kind: getattr(_near(near, kind), kind)() for kind in kinds}
        Reflector("it", building.reflector_args(near, **given))

    built = building.build(build)
    dependencies = built.named("it-server").request.dependencies
    assert [kind for kind in kinds if built.named(f"{kind}-ready").urn not in dependencies] == []


def _near(near: Neighbours, kind: str) -> Neighbours:
    return Neighbours(host=near.host, ready=building.Anchor(f"{kind}-ready"))


@pytest.mark.parametrize("role", ["worker", "hatchet-worker-llm", "beat", "web"])
def test_all_else_waits_for_the_servers_migrations_and_for_nothing_beside_it(role: str) -> None:
    container = BUILT.named(f"it-{role}")
    assert BUILT.named("it-server").urn in container.request.dependencies
    for other in {"worker", "hatchet-worker-llm", "beat", "web"} - {role}:
        assert not building.depends_on(BUILT.engine, container, f"it-{other}"), f"{role} has no need of {other}"


@pytest.mark.parametrize("role", BACKEND)
def test_every_backend_container_has_the_start_script(role: str) -> None:
    (upload,) = (one for one in BUILT.named(f"it-{role}").plain("uploads") if one["file"] == "/app/runserver.sh")
    assert (upload["content"], upload["permissions"]) == (startup.runserver(), "0555")


def test_the_start_script_listens_where_others_look() -> None:
    assert f"--port {SERVER_PORT}\n" in startup.runserver()


def test_models_inside_the_backend_are_kept_where_they_run() -> None:
    speech = SpeechServices(url="", whisper_model="small")
    built = building.build(lambda near: Reflector("it", building.reflector_args(near, speech=speech)))
    for role, expected in (("server", True), ("worker", True), ("hatchet-worker-llm", True), ("beat", False)):
        container = built.named(f"it-{role}")
        mounts = (
            {mount["containerPath"] for mount in container.plain("volumes")} if "volumes" in container.inputs else ()
        )
        assert ("/root/.cache" in mounts) is expected, role


def test_speech_elsewhere_leaves_no_volume_for_models() -> None:
    assert "it-models" not in {resource.name for resource in BUILT.engine.resources}


def test_the_roles_that_work_on_files_share_them() -> None:
    shared = BUILT.named("it-data").plain("name")
    for role in BACKEND:
        container = BUILT.named(f"it-{role}")
        mounts = container.plain("volumes") if "volumes" in container.inputs else []
        assert [mount["volumeName"] for mount in mounts] == ([] if role == "beat" else [shared]), role


def test_the_web_frontend_has_a_secret_of_its_own_and_runs_as_nobody_special() -> None:
    web = BUILT.named("it-web")
    assert environment("web")["NEXTAUTH_SECRET"] == token_of("it-nextauth-secret")
    assert web.plain("user") == "1001:1001"
    assert web.plain("command") == ["sh", "/app/web.sh", "serve", "pages"]


def test_the_web_frontend_reaches_the_server_by_its_handle() -> None:
    assert environment("web")["SERVER_API_URL"] == "http://server:1250"
    prefixed = building.build(
        lambda near: Reflector("it", building.reflector_args(near, service_prefix="second-"))
    ).named("it-web")
    assert environment_of(prefixed)["SERVER_API_URL"] == "http://second-server:1250"


KEY = "-----BEGIN PUBLIC KEY-----\nHandedPublicKey\n-----END PUBLIC KEY-----\n"


def with_key(pem: str | None, **backend: str) -> building.Built:
    """Return a Reflector whose identity provider signs with a key."""

    def build(near: Neighbours) -> None:
        identity = near.identity()
        given = dataclasses.replace(
            identity,
            backend={**identity.backend, **backend},
            public_key_pem=None if pem is None else pulumi.Output.from_input(pem),
        )
        Reflector("it", building.reflector_args(near, identity=given))

    return building.build(build)


def test_every_backend_role_has_the_key_it_verifies_tokens_with_and_the_pages_have_not() -> None:
    built = with_key(KEY)
    for role in BACKEND:
        (upload,) = (one for one in built.named(f"it-{role}").plain("uploads") if one["file"] == JWT_KEY_FILE)
        assert upload["content"] == KEY
        assert upload["permissions"] in ("0444", "0644")
    assert JWT_KEY_FILE not in [one["file"] for one in built.named("it-web").plain("uploads")]
    for role in BACKEND:
        uploads = BUILT.named(f"it-{role}").plain("uploads")
        assert JWT_KEY_FILE not in [one["file"] for one in uploads], "nobody else says who somebody is"


def test_cached_tokens_are_forgotten_once_every_backend_verifies_them_in_another_way() -> None:
    step = BUILT.named("it-cached-tokens")
    for role in BACKEND:
        assert building.depends_on(BUILT.engine, step, f"it-{role}")
    assert step.plain("environment")["CONTAINER"] == "reflector-test-keys"
    ways = [
        built.named("it-cached-tokens").plain("environment")["VERIFIER"]
        for built in (BUILT, with_key(None), with_key(KEY), with_key(f"{KEY}\n"), with_key(KEY, AUTH_JWT_AUDIENCE="x"))
    ]
    assert ways[0] == ways[1]
    assert len(set(ways[1:])) == 4, "another key, and another audience, are another way"


def test_every_process_has_a_limit_of_its_own() -> None:
    limits = {role: BUILT.named(f"it-{role}").plain("memory") for role in (*BACKEND, "web")}
    assert limits == {"server": 501, "worker": 502, "beat": 503, "hatchet-worker-llm": 504, "web": 505}


def test_the_edge_is_handed_the_api_and_the_pages_ready_once_all_of_it_works() -> None:
    site: Site = BUILT.component.site
    assert site.names == ["reflector.test", "127.0.0.1"]
    assert [(list(route.paths), route.upstream) for route in site.routes] == [
        (["/v1/*", "/health"], "http://server:1250"),
        ([], "http://web:3000"),
    ]
    assert site.policy == PAGES
    services: list[Service] = BUILT.component.services
    assert [service.name for service in services] == ["server", "worker", "hatchet-worker-llm", "beat", "web"]
    assert list(site.ready) == [service.container for service in services]


def test_its_api_is_handed_over_by_the_url_people_see() -> None:
    assert BUILT.component.api_url == "https://reflector.test/v1"


def test_the_room_makes_a_reflector_at_the_names_and_with_the_limits_of_the_settings() -> None:
    chosen = Application(server=Server(memory_mib=300), web=Web(memory_mib=200))
    edge = Edge(domain="a.test", extra_names=("DNS:b.test", "IP:192.0.2.1"), https_port=8443)

    def build(near: Neighbours) -> Any:
        return application.reflector(
            chosen,
            edge,
            near.host,
            {"backend": near.image(), "frontend": near.image()},
            trust=near.trust(),
            names=["a.test", "localhost", "b.test", "127.0.0.1", "::1", "192.0.2.1"],
            certificate=near.certificate(),
            database=near.database(),
            cache=near.cache(),
            identity=near.identity(),
            object_store=near.object_store(),
            speech=near.speech(),
            language_model=near.language_model(),
            workflow=near.workflow(),
        )

    built = building.build(build)
    limits = [built.named(f"reflector-{role}").plain("memory") for role in ("server", "web", "beat")]
    assert limits == [300, 200, 1024]
    assert built.component.site.names == ["a.test", "localhost", "b.test", "127.0.0.1", "::1", "192.0.2.1"]
    assert environment_of(built.named("reflector-server"))["BASE_URL"] == "https://a.test:8443"


def test_pages_are_the_domains_also_at_the_port_the_host_publishes() -> None:
    assert Edge(domain="a.test", https_port=8443, public_port=443).origins == ("https://a.test", "https://a.test:8443")
    assert Edge(domain="a.test", https_port=443).origins == ("https://a.test",)
