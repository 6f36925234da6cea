"""The whole program, for every documented shape of a stack."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import pytest

from operations import bulk
from policy import rules as policy
from rendering.garage import S3_PORT
from rendering.reference import is_pinned
from settings.base import Model
from testing.building import (
    COMMAND,
    CONTAINER,
    IMAGE,
    NETWORK,
    PASSWORD,
    VOLUME,
    delivered,
    depends_on,
    environment_of,
    in_the_open,
    networks_of,
    searchable,
    told_by_ids,
)
from testing.engine import Registered
from testing.rules import assert_rules
from tests.program.shapes import (
    CONFIGURED_SECRETS,
    DOCKER_AUTHORITY,
    DOCKER_CERTIFICATE,
    DOCKER_KEY,
    HIDDEN,
    SHAPES,
    WITH_AUTHENTIK,
    WITH_TRANSCRIPTION,
    WITHOUT_GARAGE,
    WITHOUT_OLLAMA,
    Shape,
    shape,
)

BACKEND: Final = frozenset({"server", "worker", "beat", "hatchet-worker-llm"})
ALWAYS: Final = BACKEND | {"postgres", "redis", "hatchet", "web", "caddy"}
BUNDLE: Final = "/usr/local/share/ca-certificates/custom-ca.crt"
TRUST_VARIABLES: Final = frozenset(
    {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"}
)
ISSUED_ELSEWHERE: Final = frozenset({"own", "acme", "lets-encrypt", "signed-by", "named"})
"""Shapes whose edge shows what the stack's own authority has not signed for it alone."""
OUTPUTS: Final = {
    "url", "api_url", "ca_certificate", "trust_page", "trust_bundle", "revocation_lists", "pki_inventory", "services",
    "container_providers", "admin_email", "admin_password", "storage", "llm",
}  # fmt: skip


@pytest.fixture(params=sorted(SHAPES))
def stack(request: pytest.FixtureRequest) -> Shape:
    """Every shape in turn."""
    return shape(request.param)


# --- What holds for every shape ---------------------------------------------------------------------------------------


def test_no_two_resources_have_the_same_urn(stack: Shape) -> None:
    urns = [resource.urn for resource in stack.engine.resources]
    assert len(urns) == len(set(urns)), "the engine refuses the second"


def test_a_shape_runs_the_services_it_needs_and_no_others(stack: Shape) -> None:
    expected = set(ALWAYS)
    expected |= set() if stack.name in WITHOUT_GARAGE else {"garage"}
    expected |= set() if stack.name in WITHOUT_OLLAMA else {"ollama"}
    expected |= {"transcription"} if stack.name in WITH_TRANSCRIPTION else set()
    expected |= {"authentik", "authentik-worker"} if stack.name in WITH_AUTHENTIK else set()
    expected |= {f"relay-{name}" for name in stack.settings.relays}
    assert stack.services == expected


def test_the_settings_name_exactly_the_services_that_run(stack: Shape) -> None:
    assert stack.services == stack.settings.services, "the names in settings would drift from those of the components"


def test_the_settings_name_exactly_the_networks_they_are_on(stack: Shape) -> None:
    made = {network.name.removeprefix("host-") for network in stack.of_type(NETWORK)}
    assert made == stack.settings.networks


def test_every_image_is_pinned(stack: Shape) -> None:
    for image in stack.of_type(IMAGE):
        assert is_pinned(image.plain("name")), image.name
    for name, container in stack.containers.items():
        assert container.plain("image").startswith("sha256:"), f"{name} must run the very image that was made sure of"


def test_every_image_made_sure_of_is_used(stack: Shape) -> None:
    needed: set[str] = set()
    for container in stack.containers.values():
        needed |= {urn for urn in container.request.dependencies if "RemoteImage" in urn}
    bases = {i.plain("build")["buildArgs"]["BASE"] for i in _built(stack) if "buildArgs" in i.plain("build")}
    for image in stack.of_type(IMAGE):
        assert image.urn in needed or image.plain("name") in bases, f"{image.name} would be pulled for nobody"


def _built(stack: Shape) -> list[Registered]:
    return [image for image in stack.of_type(IMAGE) if "build" in image.inputs]


def test_only_the_edge_and_relays_publish_ports(stack: Shape) -> None:
    published = {name for name, container in stack.containers.items() if "ports" in container.inputs}
    assert published == {"caddy", *(f"relay-{name}" for name in stack.settings.relays)}


def test_every_container_keeps_every_rule(stack: Shape) -> None:
    for container in stack.containers.values():
        assert_rules(container)


def test_no_shape_breaks_a_rule_of_the_policy_pack(stack: Shape) -> None:
    asked = [
        policy.Resource(urn=one.urn, type=one.type, name=one.name, properties=one.inputs, protect=one.request.protect)
        for one in stack.engine.resources
    ]
    broken = [violation for one in asked for _, violation in policy.of_resource(one)]
    broken += [violation for _, violation in policy.of_stack(asked)]
    assert broken == []


def test_every_service_has_the_memory_limit_of_the_settings(stack: Shape) -> None:
    limits = {
        service: model.memory_mib
        for model in groups(stack.settings)
        for service in model.SERVICES
        if hasattr(model, "memory_mib")
    } | {f"relay-{name}": relay.memory_mib for name, relay in stack.settings.relays.items()}
    assert {name: container.plain("memory") for name, container in stack.containers.items()} == limits


def groups(model: Model) -> Iterator[Model]:
    """Yield `model` and every group in it."""
    yield model
    for _, value in model:
        if isinstance(value, Model):
            yield from groups(value)


SWARM_SECRET: Final = "docker:index/secret:Secret"


def test_every_docker_resource_goes_to_the_stacks_own_host(stack: Shape) -> None:
    assert_one_provider(stack, "docker")


def test_what_a_swarm_keeps_goes_to_that_swarm_and_nothing_else_does() -> None:
    stack = shape("container-providers")
    manager = stack.engine.named("container-provider-managers-manager")
    there = {one.type for one in stack.engine.resources if one.request.provider.startswith(f"{manager.urn}::")}
    assert there == {SWARM_SECRET}


def assert_one_provider(stack: Shape, package: str) -> Registered:
    """Fail unless every resource of a package goes to its one provider, and return that.

    What a Swarm keeps is made by a provider of that Swarm.
    """
    (provider,) = (one for one in stack.of_type(f"pulumi:providers:{package}") if "-manager" not in one.name)
    for resource in stack.engine.resources:
        if resource.type.startswith(f"{package}:") and resource.type != SWARM_SECRET:
            assert resource.request.provider.startswith(f"{provider.urn}::"), (
                f"{resource.name} would use a default provider"
            )
    return provider


def _secrets(stack: Shape) -> list[str]:
    """Return every secret there is, of the settings' and of the stack's own."""
    return [*stack.engine.secrets.values(), *CONFIGURED_SECRETS.values(), DOCKER_KEY.splitlines()[1]]


def test_no_secret_travels_in_the_open(stack: Shape) -> None:
    secrets = _secrets(stack)
    assert len(secrets) > 10, "there are secrets to look for"
    assert in_the_open(stack.engine.resources, secrets) == [], "they would be in the state in plain text"


def test_no_secret_is_an_argument_or_part_of_a_script(stack: Shape) -> None:
    secrets = [searchable(secret) for secret in _secrets(stack)]
    for command in stack.of_type(COMMAND):
        shown = json.dumps([command.inputs.get(key) for key in ("create", "update", "delete", "interpreter")])
        assert not any(secret in shown for secret in secrets), f"{command.name} would show in a process list"
    for name, container in stack.containers.items():
        shown = json.dumps([container.inputs.get("command"), container.plain("healthcheck"), container.plain("labels")])
        assert not any(secret in shown for secret in secrets), name


PASSWORDS: Final = {"admin_password", "sign_in", "container_providers"}
"""The outputs somebody looks for a password or a key in."""


def test_no_secret_leaves_as_an_open_output(stack: Shape) -> None:
    open_ = {name: value for name, value in stack.engine.exports.items() if name not in stack.engine.secret_exports}
    assert not any(searchable(secret) in json.dumps(open_) for secret in _secrets(stack))
    shown = json.dumps({name: value for name, value in stack.engine.exports.items() if name not in PASSWORDS})
    assert not any(searchable(secret) in shown for secret in _secrets(stack)), "one of them is no place for a password"


def test_container_providers_are_handed_over_and_users_of_what_they_show() -> None:
    stack = shape("container-providers")
    assert {name: one["kind"] for name, one in stack.engine.exports["container_providers"].items()} == {
        "nas": "docker", "managers": "swarm", "cluster": "kubernetes",
    }  # fmt: skip
    assert "container_providers" in stack.engine.secret_exports
    nas = stack.engine.exports["container_providers"]["nas"]
    assert nas["ca"] == nas["client_ca"] != stack.engine.exports["ca_certificate"]
    users = {one.get("certificate"): one.get("users") for one in stack.engine.exports["pki_inventory"]}
    assert {*users["deployer"]["container_providers"]} == {"nas", "managers"}
    assert users["api"] == {"container_providers": ["managers"]}
    assert users["daemon"] == {}
    assert len(stack.of_type("docker:index/secret:Secret")) == 2
    assert "caMaterial" in stack.engine.named("container-provider-managers-manager").inputs
    assert not [name for name in stack.names if "nas" in name or "cluster" in name.removeprefix("authority-clusters")]


def test_the_outputs_are_complete(stack: Shape) -> None:
    assert set(stack.engine.exports) >= OUTPUTS, "outputs are an interface: names are only ever added"


def test_the_services_output_names_every_container(stack: Shape) -> None:
    services = stack.engine.exports["services"]
    assert services.keys() == stack.services
    for name, service in services.items():
        assert service.keys() == {"container", "image", "address", "health"}, name
        assert service["container"] == stack.containers[name].plain("name"), name
        assert service["image"].startswith("sha256:"), name
        assert service["health"] == " ".join(stack.containers[name].plain("healthcheck")["tests"][1:]), name
        assert service["address"] == "" or service["address"].startswith(f"{name}:"), name


def own_entries(stack: Shape) -> list[Any]:
    """Return what of the inventory any stack has, without the registry and its authorities."""
    every = stack.engine.exports["pki_inventory"]
    return [entry for entry in every if "certificate" not in entry and entry.get("authority") in {"stack", None}]


def test_the_pki_inventory_lists_root_and_leaf_and_no_key(stack: Shape) -> None:
    inventory = own_entries(stack)
    between = ["intermediate"] if stack.name == "signed-by" else []
    leaf = ["server"] if stack.name != "named" else []  # which is in the registry, and no entry besides
    assert [entry["kind"] for entry in inventory] == ["root", *between, *leaf]
    # When what the edge orders ends, only the edge knows.
    assert all(entry.get("expires") for entry in inventory if entry.get("source") != "acme")
    assert "PRIVATE" not in json.dumps(stack.engine.exports["pki_inventory"])


def test_the_pki_inventory_has_the_subjects_of_the_certificates(stack: Shape) -> None:
    if stack.name not in ISSUED_ELSEWHERE:
        assert_true_subjects(stack)


def test_a_long_stack_name_has_the_subject_of_its_certificate_in_the_inventory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testing.engine.STACK", "x" * 60)
    assert_true_subjects(shape.__wrapped__("selfhosted"))


def assert_true_subjects(stack: Shape) -> None:
    """Fail unless the inventory names certificates as they name themselves."""
    inventory = own_entries(stack)
    root, leaf = (stack.engine.named(name) for name in ("authority-1-certificate", "edge-certificate-1-request"))
    assert [entry["name"] for entry in inventory] == ["authority", "edge-certificate"]
    assert [entry["subject"] for entry in inventory] == [one.plain("subject")["commonName"] for one in (root, leaf)]
    names = [f"DNS:{name}" for name in leaf.plain("dnsNames")] + [f"IP:{ip}" for ip in leaf.plain("ipAddresses")]
    assert inventory[1]["names"] == names


def test_data_services_sit_on_internal_networks_alone(stack: Shape) -> None:
    internal = {network.plain("name") for network in stack.of_type(NETWORK) if network.plain("internal")}
    for name in stack.services & {"postgres", "redis", "garage"}:
        joined = networks_of(stack.containers[name]).keys()
        assert joined
        assert joined <= internal, f"{name} could be reached from, or reach, the outside"


def test_every_network_is_used(stack: Shape) -> None:
    joined = {network for container in stack.containers.values() for network in networks_of(container)}
    assert {network.plain("name") for network in stack.of_type(NETWORK)} == joined


def test_every_volume_outlasts_the_program(stack: Shape) -> None:
    volumes = stack.of_type(VOLUME)
    assert volumes
    assert [v.name for v in volumes if not v.request.retainOnDelete] == []


def test_every_volume_says_whose_it_is(stack: Shape) -> None:
    for volume in stack.of_type(VOLUME):
        labels = {label["label"]: label["value"] for label in volume.plain("labels")}
        assert labels == {
            "org.reflector.deployment": "0123456789abcdef",
            "org.reflector.stack": "reflector-test",
        }, volume.name


def test_every_volume_is_mounted(stack: Shape) -> None:
    mounted = {
        mount["volumeName"]
        for container in stack.containers.values()
        if "volumes" in container.inputs
        for mount in container.plain("volumes")
    }
    assert {volume.plain("name") for volume in stack.of_type(VOLUME)} == mounted


def test_every_name_on_the_host_begins_with_the_stacks_prefix(stack: Shape) -> None:
    for kind in (VOLUME, NETWORK, CONTAINER):
        for resource in stack.of_type(kind):
            assert resource.plain("name").startswith("reflector-test-"), "or two stacks could not share a host"


def test_every_process_of_reflector_trusts_our_roots(stack: Shape) -> None:
    for name in stack.services & (BACKEND | {"web", "transcription"}):
        container = stack.containers[name]
        uploads = {upload["file"]: upload["content"] for upload in container.plain("uploads")}
        folder = f"{BUNDLE.rpartition('/')[0]}/"
        said = "".join(content for file, content in sorted(uploads.items()) if file.startswith(folder))
        assert said == stack.engine.exports["trust_bundle"], name
        if not said:
            assert not TRUST_VARIABLES & environment_of(container).keys(), name
            continue
        variable = "NODE_EXTRA_CA_CERTS" if name == "web" else "SSL_CERT_FILE"
        assert variable in environment_of(container), f"{name} has the roots but does not look at them"


def test_verification_is_never_switched_off(stack: Shape) -> None:
    for name, container in stack.containers.items():
        assert "NODE_TLS_REJECT_UNAUTHORIZED" not in environment_of(container), name
        assert "PYTHONHTTPSVERIFY" not in environment_of(container), name


def test_workers_wait_for_the_server(stack: Shape) -> None:
    for name in ("reflector-worker", "reflector-beat", "reflector-hatchet-worker-llm"):
        assert depends_on(stack.engine, stack.engine.named(name), "reflector-server"), (
            f"{name}: it migrates the database"
        )


def test_the_server_waits_for_all_it_uses(stack: Shape) -> None:
    server = stack.engine.named("reflector-server")
    needed = ["postgres-databases", "redis-container", "hatchet-token"]
    needed += [] if stack.name in WITHOUT_GARAGE else ["garage-bucket"]
    needed += [] if stack.name in WITHOUT_OLLAMA else ["ollama-model"]
    needed += ["transcription-container"] if stack.name in WITH_TRANSCRIPTION else []
    for name in needed:
        assert depends_on(stack.engine, server, name), f"the server would start before {name}"


def test_the_web_frontend_waits_for_the_server_and_not_for_the_workers(stack: Shape) -> None:
    web = stack.engine.named("reflector-web")
    assert depends_on(stack.engine, web, "reflector-server")
    for name in ("reflector-worker", "reflector-beat", "reflector-hatchet-worker-llm"):
        assert not depends_on(stack.engine, web, name), "neither needs the other, so they start together"


def test_nothing_is_published_before_all_of_the_application_works(stack: Shape) -> None:
    edge = stack.engine.named("caddy-container")
    for name in ("server", "worker", "beat", "hatchet-worker-llm", "web"):
        assert depends_on(stack.engine, edge, f"reflector-{name}"), name


def test_every_root_key_is_protected(stack: Shape) -> None:
    for name in ("authority-1-key", "authority-1-certificate"):
        assert stack.engine.named(name).request.protect, name


OPTIONAL: Final = ("garage-", "sign-in-", "authentik-", "postgres-authentik")
"""What the names of secrets begin with whose mode can be switched off."""


def test_every_password_is_protected_but_those_of_modes_that_can_be_switched_off(stack: Shape) -> None:
    secrets = stack.of_type(PASSWORD)
    assert secrets
    unprotected = {secret.name for secret in secrets if not secret.request.protect}
    assert unprotected == {secret.name for secret in secrets if secret.name.startswith(OPTIONAL)}


def test_no_id_tells_a_secret(stack: Shape) -> None:
    assert told_by_ids(stack.engine) == [], "ids are never encrypted"


def test_all_public_urls_agree(stack: Shape) -> None:
    url = stack.engine.exports["url"]
    server, web = environment_of(stack.containers["server"]), environment_of(stack.containers["web"])
    assert {server["BASE_URL"], server["CORS_ORIGIN"].split(",")[0], web["SITE_URL"], web["NEXTAUTH_URL"]} == {url}
    assert stack.engine.exports["api_url"] == f"{url}/v1"


# --- What holds for one -----------------------------------------------------------------------------------------------


def _all_text(stack: Shape) -> str:
    """Return every input of every resource, secrets too."""
    return " ".join(f"{resource.name} {resource.text()}" for resource in stack.engine.resources)


def test_the_administrators_password_is_a_secret_output() -> None:
    engine = shape("selfhosted").engine
    assert engine.secret_exports == {"admin_password"}
    assert engine.exports["admin_password"] == engine.secrets["sign-in-admin.result"]
    assert engine.exports["admin_email"] == "admin@reflector.example.com"


def test_without_a_login_there_is_no_administrator() -> None:
    stack = shape("public")
    assert stack.engine.exports["admin_email"] is None
    assert stack.engine.exports["admin_password"] is None
    assert stack.names.isdisjoint({"sign-in-admin", "sign-in-admin-salt"})
    assert "ADMIN_PASSWORD_HASH=" not in _all_text(stack)
    assert environment_of(stack.containers["web"])["FEATURE_REQUIRE_LOGIN"] == "false"


def test_with_a_language_model_elsewhere_nothing_of_ollama_is_left() -> None:
    stack = shape("elsewhere")
    assert not any("ollama" in name for name in stack.names)
    assert "ollama" not in _all_text(stack).lower()


def test_all_connections_to_the_database_are_in_its_budget(stack: Shape) -> None:
    """What each consumer is told it may hold, times how often it makes a pool of it, is what the server allows."""
    told = {role: environment_of(stack.containers[role]) for role in (*BACKEND, "hatchet")}
    pools = {role: int(told[role]["DATABASE_URL"].partition("max_size=")[2]) for role in BACKEND}
    budget = stack.settings.connections
    assert pools["server"] == budget["server"]
    assert pools["worker"] * int(told["worker"]["WORKER_PROCESSES"]) == budget["worker"]
    assert pools["hatchet-worker-llm"] * 10 == budget["hatchet-worker-llm"], "steps at a time"
    each = int(told["hatchet"]["DATABASE_MAX_CONNS"]) + int(told["hatchet"]["DATABASE_DDL_POOL_MAX_CONNS"])
    assert 3 * each == budget["hatchet"], "servers in its one process"
    parameters = stack.containers["postgres"].plain("command")
    assert f"max_connections={sum(budget.values())}" in parameters


@pytest.mark.parametrize("stack", SHAPES, indirect=True)
def test_no_transcript_leaves_for_a_model_that_nobody_chose(stack: Shape) -> None:
    """Without these Reflector's client asks api.openai.com."""
    model = stack.engine.exports["llm"]
    for role in BACKEND:
        environment = environment_of(stack.containers[role])
        assert (environment["LLM_URL"], environment["LLM_MODEL"]) == (model["url"], model["model"])
        assert environment["LLM_API_KEY"]


def test_with_a_store_elsewhere_nothing_of_garage_is_left() -> None:
    for name in sorted(WITHOUT_GARAGE):
        stack = shape(name)
        assert not any("garage" in resource for resource in stack.names), name
        assert "garage" not in _all_text(stack).lower(), name
        assert "host-storage" not in stack.names, "a network nobody needs"


def test_the_edge_looks_for_the_store_where_it_listens() -> None:
    sites = delivered(shape("selfhosted").engine.named("caddy-release"))["sites.router"]
    assert f"reverse_proxy http://garage:{S3_PORT} {{\n" in sites


def test_with_services_elsewhere_their_addresses_and_keys_reach_the_backend() -> None:
    environment = environment_of(shape("elsewhere").containers["server"])
    assert environment["TRANSCRIPT_URL"] == "https://speech.example.com"
    assert environment["TRANSCRIPT_MODAL_API_KEY"] == CONFIGURED_SECRETS["speech key"]
    assert environment["HF_TOKEN"] == CONFIGURED_SECRETS["Hugging Face token"]
    assert environment["LLM_URL"] == "https://models.example.com/v1"
    assert environment["LLM_API_KEY"] == CONFIGURED_SECRETS["model key"]
    assert environment["TRANSCRIPT_STORAGE_AWS_ENDPOINT_URL"] == "https://objects.example.com"
    assert environment["TRANSCRIPT_STORAGE_AWS_SECRET_ACCESS_KEY"] == CONFIGURED_SECRETS["store secret"]


def test_a_bucket_of_aws_reaches_the_backend_without_an_endpoint() -> None:
    stack = shape("s3")
    environment = environment_of(stack.containers["server"])
    assert "TRANSCRIPT_STORAGE_AWS_ENDPOINT_URL" not in environment
    assert environment["TRANSCRIPT_STORAGE_AWS_REGION"] == "eu-central-1"
    assert environment["TRANSCRIPT_STORAGE_AWS_SECRET_ACCESS_KEY"] == stack.engine.secrets["s3-key.secret"]
    assert depends_on(stack.engine, stack.engine.named("reflector-server"), "s3-policy"), (
        "before that it may do nothing"
    )


def test_a_bucket_of_aws_and_all_around_it_is_made_in_the_region_of_the_settings() -> None:
    provider = assert_one_provider(shape("s3"), "aws")
    assert provider.plain("region") == "eu-central-1", "or it would take one from the environment, or refuse"


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_no_resource_of_aws_is_made_unless_asked_for(name: str) -> None:
    aws = [resource.name for resource in shape(name).engine.resources if "aws" in resource.type.split(":")]
    assert bool(aws) is (name == "s3"), "the plugin is large, and not everybody has it"


def test_a_remote_host_is_reached_with_its_certificates() -> None:
    stack = shape("remote")
    (provider,) = stack.of_type("pulumi:providers:docker")
    assert provider.plain("host") == "tcp://docker.example.com:2376"
    assert (provider.plain("caMaterial"), provider.plain("certMaterial")) == (DOCKER_AUTHORITY, DOCKER_CERTIFICATE)
    assert provider.is_secret("keyMaterial")
    assert provider.plain("keyMaterial") == DOCKER_KEY
    assert all(c.plain("environment")["DOCKER_TLS_VERIFY"] == "1" for c in stack.of_type(COMMAND))


def test_a_local_host_gets_no_certificates() -> None:
    (provider,) = shape("selfhosted").of_type("pulumi:providers:docker")
    assert provider.inputs.keys().isdisjoint({"caMaterial", "certMaterial", "keyMaterial"})


def test_the_stack_for_one_machine_builds_every_image_on_its_host() -> None:
    stack = shape("dev")
    assert {image.name for image in stack.of_type(IMAGE)} == {image.name for image in _built(stack)}
    for image in _built(stack):
        assert image.plain("build")["context"].startswith(".toolchain/images/"), "state must not hold a machine's path"


def test_the_stack_for_one_machine_is_published_on_loopback_alone() -> None:
    ports = shape("dev").containers["caddy"].plain("ports")
    assert {(port["ip"], port["external"]) for port in ports} == {("127.0.0.1", 8443), ("127.0.0.1", 8080)}


def test_the_stack_for_production_serves_its_domain_on_the_usual_ports() -> None:
    stack = shape("selfhosted")
    assert stack.engine.exports["url"] == "https://reflector.example.com"
    assert stack.engine.exports["storage"]["endpoint"] == "https://s3.reflector.example.com"
    ports = {(p["ip"], p["external"], p["protocol"]) for p in stack.containers["caddy"].plain("ports")}
    assert ports == {("0.0.0.0", 443, "tcp"), ("0.0.0.0", 443, "udp"), ("0.0.0.0", 80, "tcp")}
    assert not _built(stack), "production runs released images"


def test_the_certificate_names_everything_the_edge_serves() -> None:
    request = shape("selfhosted").engine.named("edge-certificate-1-request")
    assert request.plain("dnsNames") == ["reflector.example.com", "s3.reflector.example.com", "localhost"]
    assert request.plain("ipAddresses") == ["127.0.0.1", "::1"]


def test_models_inside_the_backend_are_kept_and_those_elsewhere_are_not() -> None:
    assert "reflector-models" in shape("selfhosted").names
    assert "reflector-models" not in shape("elsewhere").names
    assert "reflector-models" not in shape("speech-container").names


# --- Behind a router --------------------------------------------------------------------------------------------------


def test_behind_a_router_the_edge_listens_on_the_port_people_see_and_publishes_another() -> None:
    ports = shape("behind-a-router").containers["caddy"].plain("ports")
    assert {(port["internal"], port["external"], port["protocol"]) for port in ports} == {
        (443, 8443, "tcp"), (443, 8443, "udp"), (8080, 8080, "tcp"),
    }  # fmt: skip
    assert "https://:443 {" in environment_of(shape("behind-a-router").containers["caddy"])["FRONT_CADDYFILE"]
    sites = delivered(shape("behind-a-router").engine.named("caddy-release"))["sites.router"]
    assert "redir https://{host}{uri} 308" in sites, "people are sent to the port of the router"


def test_behind_a_router_no_url_and_no_process_knows_of_the_published_port() -> None:
    stack = shape("behind-a-router")
    assert stack.engine.exports["url"] == "https://reflector.example.com"
    assert stack.engine.exports["storage"]["endpoint"] == "https://s3.reflector.example.com"
    for name, container in stack.containers.items():
        # Pages that somebody opens past the router may call the API; no address is made from that.
        variables = {key: value for key, value in environment_of(container).items() if key != "CORS_ORIGIN"}
        assert "8443" not in json.dumps([variables, container.plain("healthcheck")]), name
    origins = environment_of(stack.containers["server"])["CORS_ORIGIN"].split(",")
    assert origins == ["https://reflector.example.com", "https://reflector.example.com:8443"]
    assert "8443" not in delivered(stack.engine.named("caddy-release"))["sites.router"]
    assert stack.engine.exports["services"]["caddy"]["address"] == "caddy:443"


# --- In a company's network -------------------------------------------------------------------------------------------


def test_who_calls_out_is_told_of_the_proxy_and_of_what_is_never_behind_it() -> None:
    containers = shape("company").containers
    told = {name: environment_of(container) for name, container in containers.items()}
    assert {name for name, variables in told.items() if "https_proxy" in variables} == (
        BACKEND | {"web", "transcription", "ollama"}
    )
    for name in BACKEND | {"web", "transcription", "ollama"}:
        url = f"http://me:{CONFIGURED_SECRETS['proxy password']}@proxy.example.com:3128"
        for variable in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
            assert told[name][variable] == url, name
        for variable in ("NO_PROXY", "no_proxy"):
            direct = told[name][variable].split(",")
            assert {*containers, "localhost", "127.0.0.1", "::1", "0.0.0.0", ".example.com"} <= set(direct), name
            assert {"reflector.example.com", "s3.reflector.example.com"} <= set(direct), name


def test_no_health_check_asks_a_proxy_for_its_own_container(stack: Shape) -> None:
    for name, container in stack.containers.items():
        test = container.plain("healthcheck")["tests"]
        if test[1] == "wget":
            assert test[2:4] == ["-Y", "off"], f"{name}: busybox's wget does not know NO_PROXY"


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_without_a_proxy_there_is_no_variable_of_one(name: str) -> None:
    assert bool(re.search("(HTTPS?|NO)_PROXY", _all_text(shape(name)).upper())) is (name == "company")


def test_a_login_for_a_registry_reaches_the_provider_alone() -> None:
    stack = shape("company")
    (provider,) = stack.of_type("pulumi:providers:docker")
    assert provider.is_secret("registryAuth")
    password = CONFIGURED_SECRETS["registry password"]
    assert [resource.name for resource in stack.engine.resources if password in resource.text()] == [provider.name]


# --- Ordinary settings that somebody encrypted ------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", HIDDEN)
def test_an_ordinary_setting_that_is_encrypted_is_used_and_shows_nowhere(hidden: str) -> None:
    stack = shape("encrypted")
    assert hidden in _all_text(stack), "it has to be used"
    assert [one.name for one in stack.engine.resources if hidden in one.open_text()] == []
    open_ = {name: value for name, value in stack.engine.exports.items() if name not in stack.engine.secret_exports}
    assert open_
    assert hidden not in json.dumps(open_)
    assert not [one.urn for one in stack.engine.resources if hidden in one.urn], "names are never secret"


def test_what_has_nothing_encrypted_in_it_stays_open() -> None:
    container = shape("encrypted").containers["redis"]
    assert not [key for key in container.inputs if container.is_secret(key)], "a change could no longer be read"


# --- From one run, and from one release, to the next ------------------------------------------------------------------


def test_a_step_of_a_rollover_is_done_once_everybody_has_it(stack: Shape) -> None:
    """What is delivered into a running container comes after the container, and must not be forgotten."""
    record = stack.engine.named("authorities-deployed")
    delivered = [name for name in stack.names if name.endswith("-release")]
    assert delivered
    for name in (*delivered, *(container.name for container in stack.containers.values())):
        assert depends_on(stack.engine, record, name), name


def test_two_runs_of_the_same_stack_ask_for_the_same() -> None:
    first = shape("selfhosted")
    second = shape.__wrapped__("selfhosted")
    assert _sorted_inputs(first) == _sorted_inputs(second), "a second `up` would change something"


def _sorted_inputs(stack: Shape) -> list[tuple[str, str]]:
    return sorted(
        (r.urn, json.dumps({k: r.plain(k) for k in r.inputs}, sort_keys=True)) for r in stack.engine.resources
    )


def test_all_a_stack_of_release_0_1_has_is_taken_over() -> None:
    former = Path(__file__).with_name("resources_of_0.1.txt").read_text(encoding="utf-8").split()
    resources = [one for name in ("dev", "selfhosted", "s3") for one in shape(name).engine.resources]
    known = {urn for one in resources for urn in (one.urn, *one.former_urns)}
    lost = {f"urn:pulumi:test::reflector::{one}" for one in former} - known
    assert len(former) > 60
    assert lost == set(), "it would be made anew, and what is protected would stop the run"


@pytest.mark.parametrize(
    ("name", "former"),
    [
        ("authority-1-key", "reflector:authority:Authority$tls:index/privateKey:PrivateKey::authority-key"),
        (
            "authority-1-certificate",
            "reflector:authority:Authority$tls:index/selfSignedCert:SelfSignedCert::authority-certificate",
        ),
        (
            "edge-certificate-1-key",
            "reflector:certificate:Certificate$tls:index/privateKey:PrivateKey::edge-certificate-key",
        ),
        (
            "edge-certificate-1-request",
            "reflector:certificate:Certificate$tls:index/certRequest:CertRequest::edge-certificate-request",
        ),
        (
            "edge-certificate-1-certificate",
            "reflector:certificate:Certificate$tls:index/locallySignedCert:LocallySignedCert"
            "::edge-certificate-certificate",
        ),
        ("sign-in-admin", "reflector:reflector:Reflector$random:index/randomPassword:RandomPassword::reflector-admin"),
        (
            "sign-in-admin-salt",
            "reflector:reflector:Reflector$random:index/randomPassword:RandomPassword::reflector-admin-salt",
        ),
    ],
)
def test_what_has_another_name_now_says_what_it_was_called(name: str, former: str) -> None:
    resource = shape("selfhosted").engine.named(name)
    # What it was made by is taken over by the state alone (operations/upgrade.py).
    former_names = {urn for urn in resource.former_urns if "$random:index/randomBytes:" not in urn}
    assert former_names == {f"urn:pulumi:test::reflector::{former}"}
    stands = resource.urn.rpartition("::")[0]
    assert (stands == f"urn:pulumi:test::reflector::{former}".rpartition("::")[0]) is not name.startswith("sign-in")


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_run_that_saves_once_touches_nothing_but_keys_and_certificates(name: str) -> None:
    # operations/bulk.py: what is left of these patterns would be forgotten by a run that is killed.
    inside = re.compile(r"::(reflector:[^:$]+:[A-Za-z0-9]+\$?)*(tls:[^:]+:[A-Za-z]+)?::[^:]+$")
    for one in shape(name).engine.resources:
        is_spared = any(fnmatchcase(one.urn, pattern) for pattern in bulk.OUTSIDE)
        assert is_spared != bool(inside.search(one.urn)), one.urn


@pytest.mark.parametrize("name", ["registry", "relay"])
def test_certificates_that_are_made_ahead_are_made_with_all_their_parts(name: str) -> None:
    # operations/bulk.py: what is missing in this list, the engine refuses to make anything by.
    settings, engine = shape(name).settings, shape(name).engine
    wanted = bulk.wanted(settings.pki, (), project="reflector", stack="test", now=datetime.now(UTC))
    listed = {urn for one in (wanted.first, *wanted.certificates) for urn in one}
    registered = {one.urn for one in engine.resources}
    assert listed <= registered
    rooms = ("reflector:certificate:Certificate", "reflector:authority:Authority")
    heads = {urn for urn in listed if urn.rpartition("::")[0].endswith(rooms)}
    assert len(heads) > 2
    assert {one.urn for one in engine.resources if one.parent in heads} == listed - heads - set(wanted.first[:1])
    needed = {urn for one in engine.resources if one.urn in listed for urn in one.request.dependencies}
    assert needed <= listed
