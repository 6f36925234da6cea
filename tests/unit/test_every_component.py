"""What every component promises, whatever it is made of."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import is_dataclass
from typing import Final

import pulumi
import pulumi_docker as docker
import pulumi_random as random
import pytest

from testing import building
from testing.building import COMPONENTS
from testing.engine import Engine, Registered
from testing.rules import assert_rules
from testing.sources import ROOT, sources

ALL: Final = sorted(COMPONENTS)
WITH_CONTAINERS: Final = [
    "Authentik", "Caddy", "Garage", "Hatchet", "Ollama", "Postgres", "Redis", "Reflector", "Relay",
    "Transcription",
]  # fmt: skip

PRECIOUS_TYPES: Final = {building.VOLUME, building.PASSWORD, "aws:s3/bucket:Bucket"}
"""What cannot be made again, whatever it is for."""
OPTIONAL: Final = {
    "Authentik": {
        "it-akadmin",
        "it-akadmin-salt",
        "it-secret-key",
        "it-client-secret-1",
        "it-data",
        "it-initial-admin",
        "it-initial-jane",
        "it-initial-joe",
    },
    "Garage": {"it-key-id", "it-key-secret", "it-rpc-secret", "it-admin-token", "it-meta", "it-data"},
    "Ollama": {"it-models"},
    "PasswordSignIn": {"it-admin", "it-admin-salt"},
    "Relay": {"it-config"},
    "S3": {"it-bucket"},
    "Transcription": {"it-models"},
}
"""Component → what of it would keep its mode from being switched off if it were protected."""
KEPT_TYPES: Final = {building.VOLUME, "aws:s3/bucket:Bucket"}
"""What holds data: it stays where it is when it leaves the state."""
PRECIOUS: Final = {
    # What else cannot be made again is named: keys every client or every container on a host trusts.
    "Authentik": set[str](),
    "Authority": {"it-1-key", "it-1-certificate"},
    "Caddy": {"it-config", "it-data"},
    "Certificate": set[str](),
    "Garage": set[str](),
    "Hatchet": {"it-admin", "it-config"},
    "Host": {"it-deployment"},
    "HostTrust": set[str](),
    "Images": set[str](),
    "Ollama": set[str](),
    "PasswordSignIn": set[str](),
    "Postgres": {"it-superuser", "it-data", "it-reflector", "it-hatchet"},
    "Redis": {"it-data"},
    "Reflector": {"it-secret-key", "it-data", "it-nextauth-secret"},
    "Relay": set[str](),
    "S3": set[str](),
    "SwarmSecrets": set[str](),
    "Transcription": set[str](),
}
"""Component → what is protected of it."""

REGISTERED: Final = {
    # Outputs in the state, where they are of use to people who look there; never a key.
    "Authority": {"certificate_pem", "expires"},
    "Certificate": {"certificate_pem", "expires"},
    "PasswordSignIn": {"admin_password"},
}


def unprotected(resources: Iterable[Registered]) -> list[str]:
    """Return what cannot be made again and could be deleted all the same."""
    return [one.name for one in resources if one.type in PRECIOUS_TYPES and not one.request.protect]


@pytest.mark.parametrize("component", ALL)
def test_all_a_component_makes_sits_under_it_and_is_named_for_it(component: str) -> None:
    engine = building.built(component).engine
    ours = {resource.name for resource in engine.resources if resource.name.startswith("it-")}
    assert ours, "a component makes something"
    assert ours == {resource.name for resource in building.below(engine, "it")}, "or two instances would clash"


@pytest.mark.parametrize("component", ALL)
def test_exactly_what_cannot_be_made_again_is_protected(component: str) -> None:
    ours = building.below(building.built(component).engine, "it")
    assert {one.name for one in ours if one.request.protect} == PRECIOUS[component]
    assert set(unprotected(ours)) == OPTIONAL.get(component, set())


@pytest.mark.parametrize("component", ALL)
def test_data_outlasts_whatever_leaves_the_program(component: str) -> None:
    ours = building.below(building.built(component).engine, "it")
    assert [one.name for one in ours if one.type in KEPT_TYPES and not one.request.retainOnDelete] == []


def test_every_component_is_said_to_have_something_precious_or_nothing() -> None:
    assert PRECIOUS.keys() == COMPONENTS.keys()


def test_a_volume_or_password_that_could_be_deleted_is_found(engine: Engine) -> None:
    def careless() -> None:
        docker.Volume("volume")
        random.RandomPassword("password", random.RandomPasswordArgs(length=40))
        random.RandomPassword("kept", random.RandomPasswordArgs(length=40), opts=pulumi.ResourceOptions(protect=True))

    engine.run(careless)
    assert sorted(unprotected(engine.resources)) == ["password", "volume"], "the rule itself would let anything pass"


@pytest.mark.parametrize("component", ALL)
def test_no_secret_travels_in_the_open(component: str) -> None:
    engine = building.built(component).engine
    secrets = [*engine.secrets.values(), *building.HANDED_SECRETS]
    assert building.in_the_open(engine.resources, secrets) == [], "they would be in the state in plain text"


def test_a_secret_that_travels_in_the_open_is_found(engine: Engine) -> None:
    def careless() -> None:
        password = random.RandomPassword("password", random.RandomPasswordArgs(length=40)).result
        docker.Container("plain", docker.ContainerArgs(image="x", envs=["KEY=HandedSecret"]))
        docker.Container("encoded", docker.ContainerArgs(image="x", envs=["KEY=SGFuZGVkU2VjcmV0"]))
        docker.Container("unwrapped", docker.ContainerArgs(image="x", envs=[pulumi.Output.unsecret(password)]))
        docker.Container("kept", docker.ContainerArgs(image="x", envs=[password]))

    engine.run(careless)
    found = building.in_the_open(engine.resources, [*engine.secrets.values(), "HandedSecret"])
    assert sorted(found) == ["encoded", "plain", "unwrapped"], "the rule itself would let anything pass"


@pytest.mark.parametrize("component", ALL)
def test_no_id_tells_a_secret(component: str) -> None:
    assert building.told_by_ids(building.built(component).engine) == [], "ids are never encrypted"


def test_an_id_that_tells_a_secret_is_found(engine: Engine) -> None:
    def careless() -> None:
        random.RandomBytes("bytes", random.RandomBytesArgs(length=32))
        random.RandomPassword("password", random.RandomPasswordArgs(length=40))

    engine.run(careless)
    assert building.told_by_ids(engine) == ["bytes"], "the rule itself would let anything pass"


@pytest.mark.parametrize("component", ALL)
def test_what_is_registered_as_an_output_is_said_here(component: str) -> None:
    assert set(building.built(component).engine.outputs_of("it")) == REGISTERED.get(component, set())


@pytest.mark.parametrize("component", ALL)
def test_what_a_component_hands_over_is_there(component: str) -> None:
    made = building.built(component).component
    promised = inspect.get_annotations(type(made))
    assert promised or component == "Host", "a component hands something over"
    for name in promised:
        assert hasattr(made, name), f"{component}.{name} is promised and never set"


@pytest.mark.parametrize("component", WITH_CONTAINERS)
def test_every_container_of_a_component_keeps_the_rules(component: str) -> None:
    containers = building.built(component).engine.of_type(building.CONTAINER)
    assert containers, f"{component} runs containers"
    for container in containers:
        assert_rules(container)


def test_every_component_with_a_container_is_among_those_that_keep_the_rules() -> None:
    assert [name for name in ALL if building.built(name).engine.of_type(building.CONTAINER)] == WITH_CONTAINERS


@pytest.mark.parametrize("component", ALL)
def test_only_the_edge_and_relays_publish_ports(component: str) -> None:
    containers = building.built(component).engine.of_type(building.CONTAINER)
    assert any("ports" in container.inputs for container in containers) is (component in {"Caddy", "Relay"})


@pytest.mark.parametrize("component", ALL)
def test_a_component_takes_a_name_frozen_arguments_and_options(component: str) -> None:
    kind = type(building.built(component).component)
    assert kind.__doc__, f"{component} promises nothing"
    parameters = inspect.signature(kind.__init__).parameters
    assert list(parameters) == ["self", "name", "args", "opts"]
    arguments = parameters["args"].annotation
    assert arguments.__name__ == f"{component}Args"
    assert is_dataclass(arguments)
    assert vars(arguments)["__dataclass_params__"].frozen, "arguments do not change after they were checked"


@pytest.mark.parametrize("component", ALL)
def test_the_type_of_a_component_is_a_literal_of_its_own(component: str) -> None:
    constructor: Callable[..., object] = type(building.built(component).component).__init__
    source = textwrap.dedent(inspect.getsource(constructor))
    (call,) = (
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "super().__init__"
    )
    assert isinstance(call.args[0], ast.Constant), "a computed type would move URNs"
    token = building.built(component).named("it").type
    assert token == call.args[0].value
    assert [name for name in ALL if building.built(name).named("it").type == token] == [component]
    namespace, module, kind = token.split(":")
    assert (namespace, kind) == ("reflector", component)
    assert module.islower()


def test_every_component_there_is_is_tested() -> None:
    found = []
    for file in sources("components"):
        for node in file.walk():
            if isinstance(node, ast.ClassDef) and "pulumi.ComponentResource" in map(ast.unparse, node.bases):
                found.append(node.name)
                own = [path.read_text(encoding="utf-8") for path in (ROOT / "tests/unit" / file.room).glob("test_*.py")]
                assert node.name in COMPONENTS or any(node.name in text for text in own), f"{file.path}: {node.name}"
    assert COMPONENTS.keys() <= set(found)


def test_a_preview_that_asks_anybody_anything_fails_here(engine: Engine) -> None:
    with pytest.raises(Exception, match="a preview must not ask anybody anything"):
        engine.run(lambda: docker.get_network(name="bridge"))
