"""What every component promises, and what each promises for itself."""

import base64
import io
import json
import tarfile
from collections.abc import Callable
from typing import Any, Final

import pulumi
import pulumi_docker as docker
import pytest

import components
from components.certificate import RENEWAL_HOURS, VALIDITY_HOURS
from components.garage import UID as GARAGE_UID
from components.handover import SpeechServices
from components.s3 import bucket_policy
from components.step import StepArgs, step
from rendering.password import password_hash
from tests.unit import building
from tests.unit.engine import TOKEN, Engine, Registered, fake_secret, is_secret, value_of

ALL: Final = sorted(building.COMPONENTS)
WITH_CONTAINERS: Final = ["Caddy", "Garage", "Hatchet", "Ollama", "Postgres", "Redis", "Reflector", "Transcription"]


def password_of(name: str) -> str:
    """Return the password the recording engine generates for the resource called `name`."""
    return fake_secret("random:index/randomPassword:RandomPassword", name, {"length": 40})["result"]


def bytes_of(name: str, length: int = 32) -> str:
    """Return the random bytes the recording engine generates for the resource called `name`, in hexadecimal."""
    return fake_secret("random:index/randomBytes:RandomBytes", name, {"length": length})["hex"]


# --- What all promise -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("component", ALL)
def test_all_a_component_makes_sits_under_it(component: str) -> None:
    engine = building.built(component).engine
    ours = {resource.name for resource in engine.resources if resource.name.startswith("it-")}
    assert ours, "a component makes something"
    assert ours == {resource.name for resource in building.below(engine, "it")}


@pytest.mark.parametrize("component", ALL)
def test_children_are_named_for_their_component(component: str) -> None:
    engine = building.built(component).engine
    assert all(child.name.startswith("it-") for child in building.below(engine, "it")), "or two instances would clash"


@pytest.mark.parametrize("component", ALL)
def test_two_instances_coexist(engine: Engine, component: str) -> None:
    def build() -> None:
        anchor = building.Anchor()
        for name in ("one", "two"):
            building.COMPONENTS[component](name, building.host(f"host-{name}", f"reflector-{name}"), anchor)

    engine.run(build)
    urns = [resource.urn for resource in engine.resources]
    assert len(urns) == len(set(urns)), "the engine refuses two resources of one URN"
    for kind in (building.CONTAINER, building.VOLUME, building.NETWORK):
        names = [resource.plain("name") for resource in engine.of_type(kind)]
        assert len(names) == len(set(names)), "Docker refuses a second container of a name, and would share a volume"


@pytest.mark.parametrize("component", ALL)
def test_data_and_passwords_are_protected(component: str) -> None:
    engine = building.built(component).engine
    precious = {
        building.VOLUME, "random:index/randomPassword:RandomPassword", "random:index/randomBytes:RandomBytes",
        "aws:s3/bucket:Bucket",
    }  # fmt: skip
    bare = [r.name for r in engine.resources if r.type in precious and not r.request.protect]
    assert bare == [], "they cannot be made again"


@pytest.mark.parametrize("component", ALL)
def test_no_secret_travels_in_the_open(component: str) -> None:
    engine = building.built(component).engine
    secrets = [*(text.split("\n")[1] if "\n" in text else text for text in engine.secrets.values())]
    for resource in engine.resources:
        text = resource.open_text()
        leaked = [secret for secret in (*secrets, *building.HANDED_SECRETS) if secret in text]
        assert leaked == [], f"{resource.name} would write them into the state in plain text"


@pytest.mark.parametrize("component", [*ALL, "Host"])
def test_registered_outputs_are_the_annotated_ones(engine: Engine, component: str) -> None:
    kind: type
    if component == "Host":
        engine.run(lambda: components.Host("it", building.host_args()))
        kind, registered = components.Host, engine.outputs_of("it")
    else:
        built = building.built(component)
        kind, registered = type(built.component), built.engine.outputs_of("it")
    annotated = {name for name, hint in kind.__annotations__.items() if hint == pulumi.Output[str]}
    if component == "Certificate":  # hands over a handle, and registers what of it is no secret
        annotated = {"certificate_pem", "expires"}
    if component == "Reflector":
        annotated = {"admin_password"}
    assert set(registered) == annotated, "the state must show what the class promises, no more and no less"


@pytest.mark.parametrize("component", WITH_CONTAINERS)
def test_every_container_of_a_component_keeps_the_rules(component: str) -> None:
    engine = building.built(component).engine
    containers = engine.of_type(building.CONTAINER)
    assert containers, f"{component} runs containers"
    for container in containers:
        assert_rules(container)


def assert_rules(container: Registered) -> None:
    """Fail unless a container keeps every rule no container may break."""
    name = container.name
    assert str(container.plain("image")).startswith("sha256:"), f"{name} must run exactly one image"
    assert container.plain("destroyGraceSeconds") >= 1, f"{name} would be killed at once"
    assert container.plain("healthcheck")["tests"], f"{name} has no health check"
    assert container.plain("capabilities")["drops"] == ["ALL"], f"{name} keeps capabilities"
    assert all(added.startswith("CAP_") for added in container.plain("capabilities").get("adds", [])), name
    assert container.plain("securityOpts") == ["no-new-privileges:true"], name
    assert container.plain("memory") == container.plain("memorySwap") > 0, f"{name} may swap, or has no limit"
    assert container.plain("networkMode") == "bridge", name
    assert container.plain("logOpts"), f"{name} could fill the disk"
    assert container.plain("restart") == "unless-stopped", name
    assert container.plain("wait") is True, name
    assert container.plain("envs") == sorted(container.plain("envs") or []), name
    assert "privileged" not in container.inputs, name
    assert list(container.request.replaceOnChanges) == ["*"], name
    assert container.request.deleteBeforeReplace, name
    assert container.request.hooks.before_create, f"{name} would stumble over what an interrupted run left"
    assert container.request.hooks.on_error, f"{name} would fail without a reason"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: components.AuthorityArgs(common_name=""), "common_name must have 1 to 64 characters, not 0"),
        (lambda: components.AuthorityArgs(common_name="x" * 65), "common_name must have 1 to 64 characters, not 65"),
        (
            lambda: components.CertificateArgs(
                dns_names=[], ip_addresses=[], authority_certificate_pem="", authority_private_key_pem=""
            ),
            "dns_names must hold one name or more",
        ),
        (lambda: components.ImageArgs(reference="postgres:latest"), "image 'postgres:latest' is not pinned"),
        (
            lambda: components.HostArgs(
                prefix="p",
                daemon=components.Daemon(address="unix:///x"),
                networks=frozenset({"application", "nowhere"}),
                health_interval_seconds=1,
                startup_limit_seconds=1,
                memory_mib={},
            ),
            r"networks: \['nowhere'\] not among",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda host: components.PostgresArgs(host=host, image="x", databases=("Bad-Name",)), "'Bad-Name'"),
        (lambda host: components.OllamaArgs(host=host, image="x", model="", context_tokens=1), "model ''"),
        (
            lambda host: components.OllamaArgs(host=host, image="x", model="--help", context_tokens=1),
            "model '--help' is not a model name",
        ),
        (
            lambda host: components.GarageArgs(
                host=host, image="x", bucket="b", capacity_gib=0, public_url="", origins=()
            ),
            "capacity_gib must be 1 or more, not 0",
        ),
    ],
)  # fmt: skip
def test_bad_arguments_of_a_service_are_refused_by_name(
    engine: Engine, arguments: Callable[[Any], object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        engine.run(lambda: arguments(building.host()))


# --- Identity and trust -----------------------------------------------------------------------------------------------


def test_the_root_and_its_key_are_protected() -> None:
    engine = building.built("Authority").engine
    assert all(child.request.protect for child in building.below(engine, "it")), "every client trusts this very root"


def test_the_root_may_sign_and_nothing_else() -> None:
    engine = building.built("Authority").engine
    certificate = engine.named("it-certificate")
    assert certificate.plain("isCaCertificate") is True
    assert certificate.plain("allowedUses") == ["cert_signing", "crl_signing"]
    assert engine.named("it-key").plain("ecdsaCurve") == "P384", "the provider's default is unusable in TLS 1.3"


def test_the_roots_key_is_secret() -> None:
    authority = building.built("Authority").component
    assert is_secret(authority.private_key_pem)
    assert not is_secret(authority.certificate_pem), "people have to read it to trust it"


def test_a_leaf_carries_its_names_and_is_renewed_before_its_end() -> None:
    engine = building.built("Certificate").engine
    request, leaf = engine.named("it-request"), engine.named("it-certificate")
    assert (request.plain("dnsNames"), request.plain("ipAddresses")) == (["reflector.test"], ["127.0.0.1"])
    assert leaf.plain("allowedUses") == ["digital_signature", "server_auth"]
    assert (leaf.plain("validityPeriodHours"), leaf.plain("earlyRenewalHours")) == (VALIDITY_HOURS, RENEWAL_HOURS)
    assert leaf.is_secret("caPrivateKeyPem")


def test_a_long_domain_only_lives_in_the_alternative_names(engine: Engine) -> None:
    domain = f"{'a' * 60}.{'b' * 60}.test"
    certificate = engine.run(
        lambda: components.Certificate(
            "it",
            components.CertificateArgs(
                dns_names=[domain], ip_addresses=[], authority_certificate_pem="x", authority_private_key_pem="x"
            ),
        )
    )
    request = engine.named("it-request")
    assert len(request.plain("subject")["commonName"]) == 64
    assert certificate.handle.common_name == request.plain("subject")["commonName"]
    assert request.plain("dnsNames") == [domain]


# --- Images -----------------------------------------------------------------------------------------------------------


def test_an_image_is_built_from_the_base_it_names() -> None:
    engine = building.built("Images").engine
    build = engine.named("it-made").plain("build")
    assert build["buildArgs"] == {"BASE": f"base:{'0' * 12}"}
    assert engine.named("it-base").urn in engine.named("it-made").request.dependencies


def test_images_stay_on_the_host() -> None:
    engine = building.built("Images").engine
    assert all(child.plain("keepLocally") is True for child in building.below(engine, "it")), "the way back needs them"


# --- Data -------------------------------------------------------------------------------------------------------------


def test_data_services_sit_on_their_internal_network_alone() -> None:
    for component, network in (("Postgres", "database"), ("Redis", "cache"), ("Garage", "storage")):
        fresh = building.built(component).engine
        (container,) = fresh.of_type(building.CONTAINER)
        assert [entry["name"] for entry in container.plain("networksAdvanced")] == [f"reflector-test-{network}"]
        assert fresh.named(f"host-{network}").plain("internal") is True
        assert "ports" not in container.inputs


def test_a_database_is_handed_over_with_its_own_role_and_password() -> None:
    postgres = building.built("Postgres").component
    database = postgres.databases["hatchet"]
    assert value_of(database.url) == f"postgresql://hatchet:{password_of('it-hatchet')}@postgres:5432/hatchet"
    assert is_secret(database.url)


def test_roles_and_databases_are_set_up_through_standard_input() -> None:
    engine = building.built("Postgres").engine
    setup = engine.named("it-databases")
    assert setup.is_secret("stdin"), "it holds the passwords"
    assert password_of("it-reflector") in setup.plain("stdin")
    assert password_of("it-reflector") not in str(setup.plain("interpreter")) + setup.plain("create")


def test_a_database_is_only_ready_once_its_role_exists() -> None:
    it = building.built("Postgres")
    engine, postgres = it.engine, it.component
    assert value_of(postgres.databases["reflector"].ready.urn) == engine.named("it-databases").urn


def test_redis_writes_down_what_is_queued() -> None:
    engine = building.built("Redis").engine
    assert engine.named("it-container").plain("command") == [
        "redis-server", "--appendonly", "yes", "--appendfsync", "everysec",
    ]  # fmt: skip


def test_garages_secrets_are_files_only_it_can_read() -> None:
    engine = building.built("Garage").engine
    container = engine.named("it-container")
    modes = {upload["file"]: upload["permissions"] for upload in container.plain("uploads")}
    assert modes == {"/etc/garage.toml": "0444", "/etc/garage/admin_token": "0400", "/etc/garage/rpc_secret": "0400"}
    assert container.plain("user") == f"{GARAGE_UID}:{GARAGE_UID}"
    assert container.is_secret("uploads")


def test_garages_key_has_the_form_garage_insists_on() -> None:
    garage = building.built("Garage").component
    key_id = value_of(pulumi.Output.from_input(garage.store.access_key_id))
    assert key_id == f"GK{bytes_of('it-key-id', 12)}"
    assert len(key_id) == 26


def test_garage_is_set_up_from_standard_input_beside_the_engine() -> None:
    engine = building.built("Garage").engine
    setup = engine.named("it-bucket")
    assert setup.plain("interpreter") == ["python3", "-c"]
    assert setup.is_secret("stdin")
    state = json.loads(setup.plain("stdin"))
    assert (state["bucket"], state["capacity_bytes"]) == ("media", 2 * 1024**3)
    assert state["secret_access_key"] == bytes_of("it-key-secret")


def test_the_object_store_is_ready_once_its_bucket_is() -> None:
    it = building.built("Garage")
    engine, garage = it.engine, it.component
    assert [value_of(resource.urn) for resource in garage.store.ready] == [engine.named("it-bucket").urn]


def test_a_bucket_of_aws_is_private_and_kept() -> None:
    engine = building.built("S3").engine
    bucket, access = engine.named("it-bucket"), engine.named("it-public-access")
    assert bucket.request.protect
    assert bucket.request.retainOnDelete
    for rule in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"):
        assert access.plain(rule) is True, rule


def test_browsers_of_the_edge_alone_may_use_a_bucket_of_aws() -> None:
    engine = building.built("S3").engine
    (rule,) = engine.named("it-cors").plain("corsRules")
    assert rule["allowedOrigins"] == ["https://reflector.test"]


def test_the_user_of_a_bucket_may_do_what_reflector_does_there_and_no_more() -> None:
    statements = json.loads(bucket_policy("arn:aws:s3:::media"))["Statement"]
    allowed = {(action, statement["Resource"]) for statement in statements for action in statement["Action"]}
    assert allowed == {
        ("s3:ListBucket", "arn:aws:s3:::media"),
        ("s3:PutObject", "arn:aws:s3:::media/*"),
        ("s3:GetObject", "arn:aws:s3:::media/*"),
        ("s3:DeleteObject", "arn:aws:s3:::media/*"),
    }


def test_a_bucket_of_aws_is_handed_over_with_a_secret_key_and_no_endpoint() -> None:
    s3 = building.built("S3").component
    assert (s3.store.endpoint, s3.store.public_endpoint) == ("", ""), "empty means AWS itself"
    assert value_of(s3.store.region) == "eu-central-1"
    assert is_secret(pulumi.Output.from_input(s3.store.secret_access_key))


# --- Speech and language ----------------------------------------------------------------------------------------------


def test_the_speech_service_trusts_our_roots_and_keeps_its_models() -> None:
    engine = building.built("Transcription").engine
    container = engine.named("it-container")
    assert [upload["file"] for upload in container.plain("uploads")] == [
        "/usr/local/share/ca-certificates/custom-ca.crt"
    ]
    assert building.environment_of(container)["SSL_CERT_FILE"] == "/etc/ssl/certs/ca-certificates.crt"
    assert [mount["containerPath"] for mount in container.plain("volumes")] == ["/root/.cache"]


def test_a_hugging_face_token_becomes_secret_on_arrival() -> None:
    engine = building.built("Transcription").engine
    container = engine.named("it-container")
    assert container.is_secret("envs")
    assert building.environment_of(container)["HF_TOKEN"] == building.HF_TOKEN


def test_without_a_hugging_face_token_there_is_no_variable_for_it(engine: Engine) -> None:
    engine.run(
        lambda: components.Transcription(
            "it",
            components.TranscriptionArgs(
                host=building.host(), image=building.IMAGE_ID, command=(), trust=building.trust()
            ),
        )
    )
    assert "HF_TOKEN" not in building.environment_of(engine.named("it-container"))


def test_ollama_gets_the_context_length_it_would_otherwise_cut_to() -> None:
    engine = building.built("Ollama").engine
    assert building.environment_of(engine.named("it-container"))["OLLAMA_CONTEXT_LENGTH"] == "16384"


def test_the_language_model_is_ready_once_the_model_is_there() -> None:
    it = building.built("Ollama")
    engine, ollama = it.engine, it.component
    setup = engine.named("it-model")
    assert [value_of(resource.urn) for resource in ollama.language_model.ready] == [setup.urn]
    assert setup.plain("environment")["MODEL"] == "qwen2.5:14b"
    assert "--env=MODEL" in setup.plain("interpreter"), "the value must not show in a process list"


def test_gpus_are_passed_on_only_where_there_are_any(engine: Engine) -> None:
    engine.run(
        lambda: components.Ollama(
            "it",
            components.OllamaArgs(
                host=building.host(), image=building.IMAGE_ID, model="m", context_tokens=1, gpus="device=0"
            ),
        )
    )
    assert engine.named("it-container").plain("gpus") == "device=0"
    fresh = building.built("Ollama").engine
    assert "gpus" not in fresh.named("it-container").inputs


# --- Steps ------------------------------------------------------------------------------------------------------------


def made_step(engine: Engine, **given: Any) -> Registered:
    """Return the command a step in a Redis container becomes."""

    def build() -> None:
        host = building.host()
        redis = components.Redis("redis", components.RedisArgs(host=host, image=building.IMAGE_ID))
        container = redis.cache.ready
        assert isinstance(container, docker.Container)
        step("it", StepArgs(host=host, container=container, service="redis", script="true", **given), redis)

    engine.run(build)
    return engine.named("it")


def test_a_step_passes_variables_on_by_name(engine: Engine) -> None:
    made = made_step(engine, environment={"B": pulumi.Output.secret("HandedSecret"), "A": "1"})
    assert made.plain("interpreter") == [
        "docker", "exec", "--interactive", "--env=A", "--env=B", "--env=PULUMI_COMMAND_STDOUT",
        "reflector-test-redis", "sh", "-c",
    ]  # fmt: skip
    assert "HandedSecret" not in made.open_text()


def test_a_step_talks_to_the_stacks_own_daemon(engine: Engine) -> None:
    assert made_step(engine).plain("environment")["DOCKER_HOST"] == "unix:///var/run/docker.sock"


def test_a_step_runs_again_with_a_new_container(engine: Engine) -> None:
    assert made_step(engine).plain("environment")["CONTAINER_ID"] == "redis-container-id"


def test_a_step_with_a_secret_output_never_logs_it(engine: Engine) -> None:
    made = made_step(engine, secret_output=True)
    assert made.plain("logging") == "none"
    assert {"stdout", "stderr"} <= set(made.request.additionalSecretOutputs)


def test_a_step_shows_its_output_only_when_asked(engine: Engine) -> None:
    assert made_step(engine).plain("logging") == "stderr"
    assert made_step(Engine(), show_progress=True).plain("logging") == "stdoutAndStderr"


def test_a_step_cannot_show_a_secret_output(engine: Engine) -> None:
    with pytest.raises(ValueError, match="a step whose output is secret must not show it"):
        made_step(engine, secret_output=True, show_progress=True)


# --- The application --------------------------------------------------------------------------------------------------


def test_hatchet_is_closed_to_sign_ups_and_has_an_administrator_of_its_own() -> None:
    engine = building.built("Hatchet").engine
    environment = building.environment_of(engine.named("it-container"))
    for variable in ("SERVER_ALLOW_SIGNUP", "SERVER_ALLOW_INVITES", "SERVER_ALLOW_CREATE_TENANT"):
        assert environment[variable] == "false", variable
    assert environment["ADMIN_PASSWORD"] == password_of("it-admin"), "else the seed is upstream's well-known one"


def test_hatchets_token_is_secret_and_minted_before_anybody_can_use_it() -> None:
    it = building.built("Hatchet")
    engine, hatchet = it.engine, it.component
    assert is_secret(hatchet.engine.token)
    assert value_of(hatchet.engine.token) == TOKEN
    assert value_of(hatchet.engine.ready.urn) == engine.named("it-token").urn
    assert set(engine.named("it-token").request.additionalSecretOutputs) == {"stdout", "stderr"}


def test_hatchets_token_is_minted_anew_when_its_lease_ends() -> None:
    engine = building.built("Hatchet").engine
    minted, lease = engine.named("it-token"), engine.named("it-token-lease")
    assert minted.plain("triggers") == ["2036-01-01T00:00:00Z"]
    assert lease.urn in minted.request.dependencies
    assert 0 < lease.plain("earlyRenewalHours") < lease.plain("validityPeriodHours")


def test_hatchet_waits_for_its_database() -> None:
    engine = building.built("Hatchet").engine
    assert engine.named("anchor").urn in engine.named("it-container").request.dependencies


def test_the_server_waits_for_everything_it_uses() -> None:
    engine = building.built("Reflector").engine
    assert engine.named("anchor").urn in engine.named("it-server").request.dependencies


@pytest.mark.parametrize("role", ["worker", "beat", "hatchet-worker-llm"])
def test_a_worker_waits_for_the_servers_migrations(role: str) -> None:
    engine = building.built("Reflector").engine
    assert engine.named("it-server").urn in engine.named(f"it-{role}").request.dependencies


@pytest.mark.parametrize("role", ["server", "worker", "beat", "hatchet-worker-llm"])
def test_every_backend_role_plays_its_own_part_with_the_same_secrets(role: str) -> None:
    engine = building.built("Reflector").engine
    environment = building.environment_of(engine.named(f"it-{role}"))
    assert environment["ENTRYPOINT"] == role
    assert environment["SECRET_KEY"] == bytes_of("it-secret-key")
    assert environment["HATCHET_CLIENT_TOKEN"] == building.HATCHET_TOKEN
    assert environment["TRANSCRIPT_STORAGE_AWS_SECRET_ACCESS_KEY"] == building.STORE_SECRET
    assert environment["LLM_API_KEY"] == building.MODEL_KEY
    assert environment["TRANSCRIPT_MODAL_API_KEY"] == building.SPEECH_KEY
    assert environment["HF_TOKEN"] == building.HF_TOKEN


def test_the_backend_speaks_to_its_database_asynchronously() -> None:
    engine = building.built("Reflector").engine
    url = building.environment_of(engine.named("it-server"))["DATABASE_URL"]
    assert url == f"postgresql+asyncpg://reflector:{building.DATABASE_PASSWORD}@postgres:5432/reflector"


def test_the_server_alone_knows_the_administrator_and_only_the_hash_of_the_password() -> None:
    engine = building.built("Reflector").engine
    server = building.environment_of(engine.named("it-server"))
    assert server["ADMIN_EMAIL"] == "admin@reflector.test"
    assert server["ADMIN_PASSWORD_HASH"] == password_hash(password_of("it-admin"), bytes_of("it-admin-salt", 16))
    for container in engine.of_type(building.CONTAINER):
        assert password_of("it-admin") not in str(container.plain("envs")), container.name
    assert "ADMIN_PASSWORD_HASH" not in building.environment_of(engine.named("it-worker"))


def test_the_administrators_password_is_secret() -> None:
    reflector = building.built("Reflector").component
    assert reflector.admin_password is not None
    assert is_secret(reflector.admin_password)


def test_public_mode_leaves_no_administrator_behind(engine: Engine) -> None:
    reflector = engine.run(
        lambda: components.Reflector(
            "it", building.reflector_args(building.host(), building.Anchor(), password_login=False)
        )
    )
    assert reflector.admin_password is None
    names = {resource.name for resource in engine.resources}
    assert names.isdisjoint({"it-admin", "it-admin-salt"})
    environment = building.environment_of(engine.named("it-server"))
    assert environment.keys().isdisjoint({"ADMIN_EMAIL", "ADMIN_PASSWORD_HASH"})
    assert (environment["AUTH_BACKEND"], environment["PUBLIC_MODE"]) == ("none", "true")


def test_without_a_language_model_no_variable_names_one(engine: Engine) -> None:
    engine.run(
        lambda: components.Reflector(
            "it", building.reflector_args(building.host(), building.Anchor(), language_model=False)
        )
    )
    environment = building.environment_of(engine.named("it-server"))
    assert [variable for variable in environment if variable.startswith("LLM_")] == []


def test_models_inside_the_backend_are_kept(engine: Engine) -> None:
    speech = SpeechServices(url="", api_key=None, whisper_model="small", hf_token=None, ready=())
    engine.run(
        lambda: components.Reflector("it", building.reflector_args(building.host(), building.Anchor(), speech=speech))
    )
    for role, expected in (("server", True), ("worker", True), ("hatchet-worker-llm", True), ("beat", False)):
        mounts = (
            {mount["containerPath"] for mount in engine.named(f"it-{role}").plain("volumes")} if expected else set()
        )
        assert ("/root/.cache" in mounts) is expected, role
    assert "volumes" not in engine.named("it-beat").inputs


def test_speech_elsewhere_leaves_no_volume_for_models() -> None:
    engine = building.built("Reflector").engine
    assert "it-models" not in {resource.name for resource in engine.resources}


def test_the_web_frontend_has_a_secret_of_its_own_and_runs_as_nobody_special() -> None:
    engine = building.built("Reflector").engine
    web = engine.named("it-web")
    assert building.environment_of(web)["NEXTAUTH_SECRET"] == bytes_of("it-nextauth-secret")
    assert web.plain("user") == "1001:1001"


# --- The edge ---------------------------------------------------------------------------------------------------------


def test_the_edge_publishes_https_twice_and_http_once_on_each_address() -> None:
    engine = building.built("Caddy").engine
    ports = {(p["ip"], p["external"], p["protocol"]) for p in engine.named("it-container").plain("ports")}
    assert ports == {
        (address, number, protocol)
        for address in ("127.0.0.1", "192.0.2.1")
        for number, protocol in ((8443, "tcp"), (8443, "udp"), (8080, "tcp"))
    }


def test_the_edge_answers_to_its_public_names_inside_the_stack() -> None:
    engine = building.built("Caddy").engine
    networks = {entry["name"]: entry["aliases"] for entry in engine.named("it-container").plain("networksAdvanced")}
    assert networks["reflector-test-application"] == ["caddy", "reflector.test", "s3.reflector.test"]


def test_the_edge_joins_the_storage_network_only_where_it_serves_a_store(engine: Engine) -> None:
    engine.run(
        lambda: components.Caddy("it", building.caddy_args(building.host(), building.Anchor(), with_store=False))
    )
    networks = [entry["name"] for entry in engine.named("it-container").plain("networksAdvanced")]
    assert networks == ["reflector-test-application"]


def test_the_edge_keeps_one_capability() -> None:
    engine = building.built("Caddy").engine
    assert engine.named("it-container").plain("capabilities")["adds"] == ["CAP_NET_BIND_SERVICE"]


def test_the_edge_is_published_after_what_it_serves() -> None:
    engine = building.built("Caddy").engine
    assert engine.named("anchor").urn in engine.named("it-container").request.dependencies


def test_a_certificate_reaches_the_edge_without_replacing_its_container() -> None:
    engine = building.built("Caddy").engine
    container, release = engine.named("it-container"), engine.named("it-release")
    assert "HandedLeafKey" not in str(container.plain("envs"))
    assert "uploads" not in container.inputs
    assert release.is_secret("stdin")
    content = delivered(release)
    assert content.keys() == {"identifier", "site.caddy", "edge.pem"}
    assert "HandedLeafKey" in content["edge.pem"]


def delivered(release: Registered) -> dict[str, str]:
    """Return the files that reach the edge, by name."""
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(release.plain("stdin")))) as tar:
        return {e.name: stream.read().decode() for e in tar.getmembers() if (stream := tar.extractfile(e)) is not None}
