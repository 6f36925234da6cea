"""The one place where a container is made keeps every guarantee, on the request as the engine gets it."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pytest

import components
from components.service import File, HealthCheck, Port, Protocol, ServiceArgs, go_duration, service, volume
from tests.unit import building
from tests.unit.engine import Engine, Registered

CHECK = HealthCheck(test=("CMD", "true"))


def made(engine: Engine, **overrides: Any) -> Registered:
    """Return the container `service` asked for, of a caddy unless told otherwise."""

    def build() -> None:
        host = building.host()
        given: dict[str, Any] = {
            "host": host,
            "service": "caddy",
            "image": building.IMAGE_ID,
            "health": CHECK,
            "networks": {"application": ()},
            **{key: value(host) if callable(value) else value for key, value in overrides.items()},
        }
        service("it", ServiceArgs(**given), building.Anchor())

    engine.run(build)
    return engine.named("it")


def refused(engine: Engine, **overrides: Any) -> str:
    """Return what `service` says to arguments it does not take."""
    with pytest.raises(ValueError) as refusal:
        made(engine, **overrides)
    return str(refusal.value)


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


@pytest.mark.parametrize("test", [(), ("CMD",), ("true",), ("curl", "-f"), ("NONE", "x")])
def test_a_health_test_docker_would_not_run_is_refused(test: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="health test must be CMD or CMD-SHELL with a command"):
        HealthCheck(test=test)


@pytest.mark.parametrize("image", ["postgres", "postgres:latest", "postgres:17", "postgres:alpine", "not an image", ""])
def test_an_image_that_is_not_pinned_is_refused(engine: Engine, image: str) -> None:
    assert f"caddy: image {image!r} is not pinned" in refused(engine, image=image)


@pytest.mark.parametrize("image", [building.IMAGE_ID, "postgres:17.2-alpine", f"postgres@sha256:{'0' * 64}"])
def test_a_pinned_image_is_taken_as_it_is(engine: Engine, image: str) -> None:
    assert made(engine, image=image).plain("image") == image


def test_a_service_without_a_memory_limit_is_refused(engine: Engine) -> None:
    assert "service 'nobody' has no memory limit" in refused(engine, service="nobody")


@pytest.mark.parametrize("networks", [{}, {"nowhere": ()}, {"application": (), "nowhere": ()}])
def test_an_unknown_network_or_none_is_refused(engine: Engine, networks: Mapping[str, tuple[str, ...]]) -> None:
    assert f"networks {sorted(networks)} must be one or more of" in refused(engine, networks=networks)


def test_a_port_published_from_internal_networks_alone_is_refused(engine: Engine) -> None:
    said = refused(engine, networks={"database": (), "cache": ()}, ports=[Port(number=1, address="127.0.0.1")])
    assert "a published port needs a network that is not internal" in said


def test_a_capability_without_its_prefix_is_refused(engine: Engine) -> None:
    said = refused(engine, capabilities=["NET_BIND_SERVICE"])
    assert "capability 'NET_BIND_SERVICE' must carry its CAP_ prefix" in said


def test_files_on_a_read_only_root_are_refused(engine: Engine) -> None:
    said = refused(engine, files=[File(path="/etc/x", content="x")], read_only=True)
    assert "files cannot be uploaded onto a read-only root file system" in said


def test_an_empty_command_argument_is_refused(engine: Engine) -> None:
    assert "the provider refuses an empty command argument" in refused(engine, command=["serve", ""])


def test_a_stop_without_grace_is_refused(engine: Engine) -> None:
    assert "stop_grace_seconds must be 1 or more" in refused(engine, stop_grace_seconds=0)


def test_all_problems_of_a_service_are_said_at_once(engine: Engine) -> None:
    said = refused(engine, image="postgres", command=[""], stop_grace_seconds=0)
    assert said.startswith("caddy: "), "the message must begin with the service it is about"
    assert said.count(";") == 2, f"three problems belong into one message: {said}"


def test_a_container_is_named_for_its_stack_and_service(engine: Engine) -> None:
    assert made(engine).plain("name") == "reflector-test-caddy"


def test_a_container_is_labelled_with_its_stack_and_service_in_order(engine: Engine) -> None:
    assert made(engine).plain("labels") == [
        {"label": "org.reflector.deployment", "value": "0123456789abcdef"},
        {"label": "org.reflector.service", "value": "caddy"},
        {"label": "org.reflector.stack", "value": "reflector-test"},
    ]


def test_a_hostname_is_always_set(engine: Engine) -> None:
    assert made(engine).plain("hostname") == "caddy", "else the host's own name leaks, and Celery's node name floats"


def test_a_container_gets_its_grace_when_it_is_removed_too(engine: Engine) -> None:
    container = made(engine, stop_grace_seconds=77)
    assert container.plain("destroyGraceSeconds") == 77, "the provider kills at once without destroy_grace_seconds"
    assert container.plain("stopTimeout") == 77


def test_a_health_check_is_always_there_with_canonical_durations(engine: Engine) -> None:
    check = HealthCheck(
        test=("CMD-SHELL", "x"), interval_factor=9, timeout_seconds=61, retries=4, start_period_seconds=180
    )
    assert made(engine, health=check).plain("healthcheck") == {
        "tests": ["CMD-SHELL", "x"],
        "interval": "1m30s",
        "timeout": "1m1s",
        "startPeriod": "3m0s",
        "retries": 4,
    }


def test_all_capabilities_are_dropped(engine: Engine) -> None:
    assert made(engine).plain("capabilities") == {"drops": ["ALL"]}


def test_only_named_capabilities_come_back_sorted(engine: Engine) -> None:
    capabilities = made(engine, capabilities=["CAP_NET_BIND_SERVICE", "CAP_CHOWN"]).plain("capabilities")
    assert capabilities == {"drops": ["ALL"], "adds": ["CAP_CHOWN", "CAP_NET_BIND_SERVICE"]}


def test_no_process_can_gain_privileges(engine: Engine) -> None:
    assert made(engine).plain("securityOpts") == ["no-new-privileges:true"]


def test_the_root_file_system_is_read_only_unless_told_otherwise(engine: Engine) -> None:
    assert made(engine).plain("readOnly") is True


def test_memory_is_limited_and_swap_is_off(engine: Engine) -> None:
    container = made(engine)
    assert container.plain("memory") == 512
    assert container.plain("memorySwap") == container.plain("memory"), "equal means no swap, and no drift"


def test_logs_are_rotated(engine: Engine) -> None:
    container = made(engine)
    assert container.plain("logDriver") == "json-file"
    assert container.plain("logOpts") == {"max-file": "3", "max-size": "10m"}


def test_the_network_mode_is_set(engine: Engine) -> None:
    assert made(engine).plain("networkMode") == "bridge", "unset, it drifts"


def test_a_container_restarts_unless_it_was_stopped(engine: Engine) -> None:
    assert made(engine).plain("restart") == "unless-stopped"


def test_anonymous_volumes_outlive_their_container(engine: Engine) -> None:
    assert made(engine).plain("removeVolumes") is False


def test_the_environment_is_sorted(engine: Engine) -> None:
    container = made(engine, environment={"B": "2", "A": "1", "C": pulumi.Output.from_input("3")})
    assert container.plain("envs") == ["A=1", "B=2", "C=3"]


def test_ports_are_sorted_as_the_provider_reads_them_back(engine: Engine) -> None:
    ports = [
        Port(number=443, address="127.0.0.1", protocol=Protocol.UDP),
        Port(number=443, address="192.0.2.1"),
        Port(number=443, address="127.0.0.1"),
        Port(number=80, address="127.0.0.1"),
    ]
    got = [(port["external"], port["protocol"], port["ip"]) for port in made(engine, ports=ports).plain("ports")]
    assert got == [
        (80, "tcp", "127.0.0.1"), (443, "tcp", "127.0.0.1"), (443, "tcp", "192.0.2.1"), (443, "udp", "127.0.0.1"),
    ]  # fmt: skip


def test_a_port_is_the_same_inside_and_outside(engine: Engine) -> None:
    (port,) = made(engine, ports=[Port(number=8443, address="127.0.0.1")]).plain("ports")
    assert port["internal"] == port["external"] == 8443


def test_networks_and_aliases_are_sorted_and_hold_the_services_name(engine: Engine) -> None:
    networks = made(engine, networks={"storage": ("z", "a"), "application": ()}).plain("networksAdvanced")
    assert networks == [
        {"name": "reflector-test-application", "aliases": ["caddy"]},
        {"name": "reflector-test-storage", "aliases": ["a", "caddy", "z"]},
    ]


def test_files_and_volumes_are_sorted_by_path(engine: Engine) -> None:
    container = made(
        engine,
        read_only=False,
        files=[File(path="/z", content="z", mode="0400"), File(path="/a", content="a")],
        volumes=lambda host: {
            path: volume(f"v{index}", host, f"role{index}", building.Anchor(f"anchor{index}"))
            for index, path in enumerate(("/zz", "/aa"))
        },
    )
    assert container.plain("uploads") == [
        {"file": "/a", "content": "a", "permissions": "0444"},
        {"file": "/z", "content": "z", "permissions": "0400"},
    ]
    assert [mount["containerPath"] for mount in container.plain("volumes")] == ["/aa", "/zz"]


def test_what_is_not_given_is_not_sent(engine: Engine) -> None:
    absent = {"command", "user", "ports", "volumes", "uploads", "tmpfs", "gpus", "stopSignal"}
    assert absent.isdisjoint(made(engine).inputs), "an empty value reads back as a difference"


def test_up_waits_for_health_as_long_as_the_check_can_take(engine: Engine) -> None:
    check = HealthCheck(test=("CMD", "x"), interval_factor=2, timeout_seconds=5, retries=3, start_period_seconds=60)
    container = made(engine, health=check)
    assert container.plain("wait") is True
    assert container.plain("waitTimeout") == 60 + 3 * (10 * 2 + 5) + 45


def test_a_host_may_cut_the_time_to_start_short(engine: Engine) -> None:
    check = HealthCheck(test=("CMD", "x"), timeout_seconds=5, retries=3, start_period_seconds=900)

    def build() -> None:
        host = components.Host("host", building.host_args(startup_limit_seconds=30)).handle
        args = ServiceArgs(
            host=host, service="caddy", image=building.IMAGE_ID, health=check, networks={"application": ()}
        )
        service("it", args, building.Anchor())

    engine.run(build)
    container = engine.named("it")
    assert container.plain("healthcheck")["startPeriod"] == "30s"
    assert container.plain("waitTimeout") == 30 + 3 * (10 + 5) + 45


def test_the_engine_waits_longer_than_the_provider(engine: Engine) -> None:
    container = made(engine)
    hours, minutes, seconds = 0, *(int(part) for part in container.request.customTimeouts.create[:-1].split("m"))
    assert hours * 3600 + minutes * 60 + seconds > container.plain("waitTimeout"), "else its error hides the cause"


def test_any_change_replaces_the_container_the_old_one_first(engine: Engine) -> None:
    request = made(engine).request
    assert list(request.replaceOnChanges) == ["*"], "a changed health check or tmpfs never reaches a running container"
    assert request.deleteBeforeReplace, "name and ports are fixed"


def test_a_container_can_be_replaced_and_removed_freely(engine: Engine) -> None:
    request = made(engine).request
    assert not request.protect, "containers hold nothing"
    assert not request.retainOnDelete


def test_a_container_is_guarded_by_the_hosts_hooks(engine: Engine) -> None:
    hooks = made(engine).request.hooks
    assert list(hooks.before_create) == ["host-left-over-containers"]
    assert list(hooks.on_error) == ["host-last-words"]


def test_a_container_waits_for_what_it_depends_on(engine: Engine) -> None:
    container = made(engine, depends_on=lambda host: [host.networks["storage"]])
    assert engine.named("host-storage").urn in container.request.dependencies


def test_a_secret_in_the_environment_stays_secret(engine: Engine) -> None:
    container = made(engine, environment={"KEY": pulumi.Output.secret("HandedSecret")})
    assert container.is_secret("envs")
    assert "HandedSecret" not in container.open_text()


def test_a_secret_file_stays_secret(engine: Engine) -> None:
    container = made(engine, read_only=False, files=[File(path="/x", content=pulumi.Output.secret("HandedSecret"))])
    assert "HandedSecret" in str(container.plain("uploads"))
    assert "HandedSecret" not in container.open_text()


def test_no_secret_shows_in_the_repr_of_arguments() -> None:
    shown = repr(File(path="/x", content="HandedSecret"))
    assert "HandedSecret" not in shown, "a traceback would print it"


def test_a_service_enters_the_list_of_services(engine: Engine) -> None:
    host = engine.run(lambda: _listed())
    assert host.services["caddy"].keys() == {"container", "image", "address", "health"}
    assert host.services["caddy"]["address"] == "caddy:443"
    assert host.services["caddy"]["health"] == "wget x"


def _listed() -> Any:
    host = building.host()
    args = ServiceArgs(
        host=host,
        service="caddy",
        image=building.IMAGE_ID,
        port=443,
        health=HealthCheck(test=("CMD", "wget", "x")),
        networks={"application": ()},
    )
    service("it", args, building.Anchor())
    return host


def made_volume(engine: Engine) -> Registered:
    engine.run(lambda: volume("data", building.host(), "postgres", building.Anchor()))
    return engine.named("data")


def test_a_volume_is_protected_and_kept(engine: Engine) -> None:
    request = made_volume(engine).request
    assert request.protect
    assert request.retainOnDelete, "even a stack that is forced away keeps its data"


def test_a_volume_is_never_replaced_by_an_edit(engine: Engine) -> None:
    assert {"labels", "driver", "driverOpts"} <= set(made_volume(engine).request.ignoreChanges)


def test_a_volume_has_a_fixed_name_and_the_stacks_label(engine: Engine) -> None:
    made = made_volume(engine)
    assert made.plain("name") == "reflector-test-postgres"
    assert made.plain("labels") == [{"label": "org.reflector.stack", "value": "reflector-test"}]


def test_containers_of_one_service_sit_under_their_parent(engine: Engine) -> None:
    assert made(engine).parent == engine.named("anchor").urn
