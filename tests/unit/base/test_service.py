"""The one place where a container is made: what it refuses, and what becomes of what it is given.

What holds for every container is in testing/rules.py, and proved on every one of them.
"""

from collections.abc import Mapping
from typing import Any

import pulumi
import pytest

from components.base.handles import MemoryLimits, Service
from components.base.service import File, HealthCheck, Port, Protocol, ServiceArgs, go_duration, service
from components.base.volume import volume
from testing import building
from testing.building import Neighbours
from testing.engine import Engine, Registered

CHECK = HealthCheck(test=("CMD", "true"))


def args(near: Neighbours, **given: Any) -> ServiceArgs:
    """Return the arguments of a service `it`, with what is callable called with its neighbours."""
    usual: dict[str, Any] = {
        "host": near.host,
        "service": "it",
        "image": building.IMAGE_ID,
        "memory_mib": 512,
        "health": CHECK,
        "networks": {"application": ()},
    }
    return ServiceArgs(**{**usual, **{key: value(near) if callable(value) else value for key, value in given.items()}})


def made(host: Mapping[str, Any] | None = None, **given: Any) -> Registered:
    """Return the container of a service on a host with these arguments."""

    def build(near: Neighbours) -> None:
        there = near.host if host is None else building.host("there", **host)
        service("it", args(near, **{"host": there, **given}), near.ready)

    return building.build(build).named("it")


def refused(**given: Any) -> str:
    """Return what is said to arguments that are not taken."""
    with pytest.raises(ValueError) as refusal:
        made(**given)
    return str(refusal.value)


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("test", [(), ("CMD",), ("true",), ("curl", "-f"), ("NONE", "x")])
def test_a_health_test_docker_would_not_run_is_refused(test: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="health test must be CMD or CMD-SHELL with a command"):
        HealthCheck(test=test)


REFUSED: list[tuple[dict[str, Any], str]] = [
    *(
        ({"image": image}, f"image {image!r} is not pinned: give a digest, an image id or an exact tag")
        for image in ("postgres", "postgres:latest", "postgres:17", "postgres:alpine", "not an image", "")
    ),
    ({"memory_mib": 0}, "memory_mib must be 1 or more, not 0"),
    ({"networks": {}}, "networks [] must be one or more of"),
    ({"networks": {"nowhere": ()}}, "networks ['nowhere'] must be one or more of"),
    (
        {"networks": {"application": (), "nowhere": ()}},
        "networks ['application', 'nowhere'] must be one or more of "
        "['application', 'cache', 'database', 'identity', 'storage']",
    ),
    (
        {"networks": {"database": (), "cache": ()}, "ports": [Port(inside=1, outside=1, address="127.0.0.1")]},
        "a published port needs a network that is not internal",
    ),
    ({"capabilities": ["NET_BIND_SERVICE"]}, "capability 'NET_BIND_SERVICE' must carry its CAP_ prefix"),
    (
        {"files": [File(path="/etc/x", content="x")], "read_only": True},
        "files cannot be uploaded onto a read-only root file system",
    ),
    ({"command": ["serve", ""]}, "the provider refuses an empty command argument"),
    ({"stop_grace_seconds": 0}, "stop_grace_seconds must be 1 or more: the provider would kill the service at once"),
]


@pytest.mark.parametrize(("given", "said"), REFUSED)
def test_what_docker_or_the_provider_would_stumble_over_is_refused_by_name(given: dict[str, Any], said: str) -> None:
    assert refused(**given).startswith(f"it: {said}"), "the message must begin with the service it is about"


def test_all_problems_of_a_service_are_said_at_once() -> None:
    said = refused(image="postgres", command=[""], stop_grace_seconds=0)
    assert said.count(";") == 2, f"three problems belong into one message: {said}"


# --- What becomes of what is given ------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", [building.IMAGE_ID, "postgres:17.2-alpine", f"postgres@sha256:{'0' * 64}"])
def test_a_pinned_image_is_taken_as_it_is(image: str) -> None:
    assert made(image=image).plain("image") == image


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0s"),
        (1, "1s"),
        (59, "59s"),
        (60, "1m0s"),
        (90, "1m30s"),
        (3600, "1h0m0s"),
        (3661, "1h1m1s"),
        (86400, "24h0m0s"),
    ],
)
def test_a_duration_is_written_as_go_prints_it(seconds: int, expected: str) -> None:
    assert go_duration(seconds) == expected, "any other spelling is a difference after each refresh"


def test_a_negative_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be negative: -1"):
        go_duration(-1)


def test_a_health_check_is_sent_with_canonical_durations() -> None:
    check = HealthCheck(
        test=("CMD-SHELL", "x"), interval_factor=9, timeout_seconds=61, retries=4, start_period_seconds=180
    )
    assert made(health=check).plain("healthcheck") == {
        "tests": ["CMD-SHELL", "x"],
        "interval": "1m30s",
        "timeout": "1m1s",
        "startPeriod": "3m0s",
        "retries": 4,
    }


def test_a_host_may_have_services_checked_more_often_while_they_start() -> None:
    assert made(host={"start_interval_seconds": 2}).plain("healthcheck")["startInterval"] == "2s"


def test_up_waits_for_health_as_long_as_the_check_can_take() -> None:
    check = HealthCheck(test=("CMD", "x"), interval_factor=2, timeout_seconds=5, retries=3, start_period_seconds=60)
    assert made(health=check).plain("waitTimeout") == 60 + 3 * (10 * 2 + 5) + 45


def test_a_host_may_cut_the_time_to_start_short() -> None:
    check = HealthCheck(test=("CMD", "x"), timeout_seconds=5, retries=3, start_period_seconds=900)
    container = made(host={"startup_limit_seconds": 30}, health=check)
    assert container.plain("healthcheck")["startPeriod"] == "30s"
    assert container.plain("waitTimeout") == 30 + 3 * (10 + 5) + 45


def test_only_named_capabilities_come_back_sorted() -> None:
    capabilities = made(capabilities=["CAP_NET_BIND_SERVICE", "CAP_CHOWN"]).plain("capabilities")
    assert capabilities == {"drops": ["ALL"], "adds": ["CAP_CHOWN", "CAP_NET_BIND_SERVICE"]}


def test_the_root_file_system_is_read_only_unless_told_otherwise() -> None:
    assert made().plain("readOnly") is True


def test_variables_may_be_known_later_than_their_names() -> None:
    container = made(environment=lambda _: {"B": "2", "A": "1", "C": pulumi.Output.from_input("3")})
    assert container.plain("envs") == ["A=1", "B=2", "C=3"]


PROXY: Mapping[str, Any] = {"proxy": {"https_proxy": "http://proxy.test:3128"}}


def test_who_fetches_something_is_told_of_the_hosts_proxy() -> None:
    assert made(PROXY, fetches=True, environment={"A": "1"}).plain("envs") == [
        "A=1", "https_proxy=http://proxy.test:3128",
    ]  # fmt: skip
    assert made(PROXY, environment={"A": "1"}).plain("envs") == ["A=1"]
    assert made(fetches=True).plain("envs") == []


def test_a_variable_of_the_hosts_proxy_is_not_hidden_by_one_of_the_service() -> None:
    with pytest.raises(ValueError, match="variables set twice: https_proxy"):
        made(PROXY, fetches=True, environment={"https_proxy": "x"})


def test_ports_are_sorted_as_the_provider_reads_them_back() -> None:
    ports = [
        Port(inside=443, outside=443, address="127.0.0.1", protocol=Protocol.UDP),
        Port(inside=443, outside=443, address="192.0.2.1"),
        Port(inside=443, outside=443, address="127.0.0.1"),
        Port(inside=80, outside=9080, address="127.0.0.1"),
    ]
    got = [(port["internal"], port["protocol"], port["ip"]) for port in made(ports=ports).plain("ports")]
    assert got == [
        (80, "tcp", "127.0.0.1"), (443, "tcp", "127.0.0.1"), (443, "tcp", "192.0.2.1"), (443, "udp", "127.0.0.1"),
    ]  # fmt: skip


def test_a_port_may_be_another_one_outside() -> None:
    (port,) = made(ports=[Port(inside=443, outside=8443, address="127.0.0.1")]).plain("ports")
    assert (port["internal"], port["external"]) == (443, 8443)


def test_networks_and_aliases_are_sorted_and_hold_the_services_name() -> None:
    assert made(networks={"storage": ("z", "a"), "application": ()}).plain("networksAdvanced") == [
        {"name": "reflector-test-application", "aliases": ["it"]},
        {"name": "reflector-test-storage", "aliases": ["a", "it", "z"]},
    ]


def test_files_and_volumes_are_sorted_by_path() -> None:
    container = made(
        read_only=False,
        files=[File(path="/z", content="z", mode="0400"), File(path="/a", content="a")],
        volumes=lambda near: {
            path: volume(f"v{index}", near.host, f"role{index}", near.ready)
            for index, path in enumerate(("/zz", "/aa"))
        },
    )
    assert container.plain("uploads") == [
        {"file": "/a", "content": "a", "permissions": "0444"},
        {"file": "/z", "content": "z", "permissions": "0400"},
    ]
    assert [mount["containerPath"] for mount in container.plain("volumes")] == ["/aa", "/zz"]


def test_what_is_not_given_is_not_sent() -> None:
    absent = {"command", "user", "ports", "volumes", "uploads", "tmpfs", "gpus", "deviceRequests", "stopSignal"}
    container = made()
    assert absent.isdisjoint(container.inputs), "an empty value reads back as a difference"
    assert "startInterval" not in container.plain("healthcheck"), "older engines refuse it"


@pytest.mark.parametrize("gpus", ["all", "device=0", "device=GPU-3a23c669-1f69"])
def test_all_gpus_or_one_are_asked_for_as_docker_run_does(gpus: str) -> None:
    container = made(gpus=gpus)
    assert container.plain("gpus") == gpus
    assert "deviceRequests" not in container.inputs


def test_several_gpus_are_asked_for_by_their_ids_alone() -> None:
    """The provider reads `device=0,1` as device 0 and a count of 1, and Docker refuses the two together."""
    container = made(gpus="device=2,0")
    assert "gpus" not in container.inputs, "the provider refuses both"
    assert container.plain("deviceRequests") == [{"driver": "nvidia", "capabilities": ["gpu"], "deviceIds": ["0", "2"]}]


def test_a_container_waits_for_what_it_depends_on() -> None:
    built = building.build(lambda near: service("it", args(near, depends_on=[near.ready]), near.ready))
    assert built.named("anchor").urn in built.named("it").request.dependencies
    assert built.named("it").parent == built.named("anchor").urn


def test_a_container_is_made_anew_with_a_network_it_is_on() -> None:
    trigger = made(networks={"database": (), "cache": ()}).request.replacement_trigger
    ids = [value.string_value for value in trigger.list_value.values]
    assert ids == ["host-cache-id", "host-database-id"]


@pytest.mark.parametrize("where", ["environment", "file"])
def test_a_secret_stays_secret_where_it_lands(where: str) -> None:
    given: dict[str, Any] = {"environment": lambda _: {"KEY": pulumi.Output.secret("HandedSecret")}}
    if where == "file":
        given = {
            "read_only": False,
            "files": lambda _: [File(path="/x", content=pulumi.Output.secret("HandedSecret"))],
        }
    container = made(**given)
    assert "HandedSecret" in container.text()
    assert "HandedSecret" not in container.open_text()


def test_no_secret_shows_in_the_repr_of_arguments() -> None:
    def build(near: Neighbours) -> str:
        return repr(args(near, environment={"KEY": "HandedSecret"})) + repr(File(path="/x", content="HandedSecret"))

    shown: str = building.build(build).component
    assert "HandedSecret" not in shown, "a traceback would print it"


# --- The handle -------------------------------------------------------------------------------------------------------


def handle(**given: Any) -> tuple[Engine, Service]:
    built = building.build(lambda near: service("it", args(near, **given), near.ready))
    return built.engine, built.component


def test_a_service_is_handed_over_with_its_address_and_urls_of_it() -> None:
    _, server = handle(port=443)
    assert (server.name, server.address, server.port) == ("it", "it", 443)
    assert server.url(8080) == "http://it:8080"
    assert server.url(8443, "https") == "https://it:8443"


def test_a_service_is_ready_once_its_container_is() -> None:
    _, server = handle()
    assert server.ready is server.container


@pytest.mark.parametrize(("port", "address"), [(443, "it:443"), (None, "")])
def test_what_the_outputs_tell_of_a_service(port: int | None, address: str) -> None:
    _, server = handle(port=port, health=HealthCheck(test=("CMD", "wget", "x")))
    described = dict(server.described)
    assert described.pop("image") is server.container.image
    assert described == {"container": "reflector-test-it", "address": address, "health": "wget x"}


@pytest.mark.parametrize(
    ("limits", "memory", "swap"),
    [(MemoryLimits.MEMORY_AND_SWAP, 512, 512), (MemoryLimits.MEMORY, 512, -1), (MemoryLimits.NONE, None, None)],
)
def test_limits_are_sent_as_the_daemon_reports_them(limits: MemoryLimits, memory: int | None, swap: int | None) -> None:
    inputs = made({"memory_limits": limits}).inputs
    assert (inputs.get("memory"), inputs.get("memorySwap")) == (memory, swap), "or each run would replace it"


def test_log_options_the_daemon_adds_are_not_looked_at() -> None:
    assert list(made().request.ignoreChanges) == ["logOpts"]
