"""A Docker host: its networks, and the hooks that guard what is made on it."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any, Final

import pulumi
import pytest

from components import hosts
from components.base.daemon import Daemon
from components.base.handles import DockerHost, Image
from components.base.ownership import Owner
from components.data.redis import Redis, RedisArgs
from components.hosts.host import NETWORKS, Host, remove_left_over_container, remove_left_over_networks
from settings.base import Secret
from settings.health import Health
from settings.hosts import Host as HostSettings
from settings.images import RegistryLogin
from settings.proxy import Proxy, ProxyLogin
from testing import building
from testing.building import PREFIX
from testing.certificates import docker_client
from testing.commands import calls
from testing.engine import Engine, is_secret, value_of

DEPLOYMENT: Final = "0123456789abcdef"
OWNER: Final = Owner(stack=PREFIX, deployment=DEPLOYMENT)
DAEMON: Final = Daemon(address="unix:///var/run/docker.sock")
NO_PROXY: Final = Proxy()
NO_SUCH: Final = {"status": 1, "stderr": "Error response from daemon: No such container: x"}


def labels(owner: Owner | None) -> dict[str, str] | None:
    """Return the labels of what belongs to `owner`; None, as Docker says it, of what has none."""
    if owner is None:
        return None
    return {"org.reflector.stack": owner.stack, "org.reflector.deployment": owner.deployment}


def container(owner: Owner | None = OWNER, **config: Any) -> str:
    """Return what `docker container inspect` prints of a container."""
    return json.dumps(
        [
            {
                "Config": {"Labels": labels(owner), "Image": "nginx:1.27.1", **config},
                "State": {
                    "Status": "running",
                    "ExitCode": 0,
                    "Health": {"Log": [{"ExitCode": 0, "Output": "old"}, {"ExitCode": 7, "Output": "refused\n"}]},
                },
                "RestartCount": 2,
            }
        ]
    )


def network(owner: Owner | None = OWNER, containers: tuple[str, ...] = ()) -> str:
    return json.dumps(
        [
            {
                "Id": "network-id",
                "Labels": labels(owner),
                "Containers": {name: {"Name": name} for name in containers},
            }
        ]
    )


def commands(log: Path) -> list[str]:
    return [" ".join(call["arguments"]) for call in calls(log)]


# --- What interrupted runs left ---------------------------------------------------------------------------------------


def test_a_free_name_is_left_alone(docker: Any) -> None:
    log = docker(container_inspect=NO_SUCH)
    remove_left_over_container(DAEMON, "x", OWNER)
    assert commands(log) == ["container inspect x"]


def test_our_own_left_over_container_is_stopped_with_its_grace_and_removed(docker: Any) -> None:
    log = docker(container_inspect=container(StopTimeout=77), stop="", rm="")
    remove_left_over_container(DAEMON, "x", OWNER)
    assert commands(log)[1:] == ["stop --time 77 x", "rm --force x"]


@pytest.mark.parametrize("owner", [None, Owner(stack="reflector-other", deployment=DEPLOYMENT)])
def test_somebody_elses_container_is_refused_and_not_touched(docker: Any, owner: Owner | None) -> None:
    log = docker(container_inspect=container(owner))
    with pytest.raises(RuntimeError) as refusal:
        remove_left_over_container(DAEMON, "reflector-test-caddy", OWNER)
    assert str(refusal.value) == (
        "the container reflector-test-caddy (image nginx:1.27.1) on unix:///var/run/docker.sock has a name this stack "
        "needs and is not this stack's; rename or remove it, or use another stack name"
    )
    assert commands(log) == ["container inspect reflector-test-caddy"]


def test_our_own_left_over_network_goes_after_the_containers_on_it(docker: Any) -> None:
    log = docker(
        network_ls="network-id\n", network_inspect=network(containers=("x",)), container_inspect=container(), stop="",
        rm="", network_rm="",
    )  # fmt: skip
    remove_left_over_networks(DAEMON, "n", OWNER)
    assert commands(log)[0] == "network ls --no-trunc --quiet --filter name=^n$", (
        "a filter by part of a name hits others"
    )
    assert commands(log)[-2:] == ["rm --force x", "network rm network-id"]


@pytest.mark.parametrize("owner", [None, Owner(stack="reflector-other", deployment=DEPLOYMENT)])
def test_somebody_elses_network_is_refused_and_not_touched(docker: Any, owner: Owner | None) -> None:
    log = docker(network_ls="network-id\n", network_inspect=network(owner))
    with pytest.raises(RuntimeError) as refusal:
        remove_left_over_networks(DAEMON, "n", OWNER)
    assert str(refusal.value) == (
        "the network n on unix:///var/run/docker.sock has a name this stack needs and is not this stack's; rename or "
        "remove it, or use another stack name"
    )
    assert not any("rm" in command.split() for command in commands(log))


@pytest.mark.parametrize("deployment", ["", "fedcba9876543210"])
def test_what_another_state_of_the_same_stack_runs_is_refused_and_not_touched(docker: Any, deployment: str) -> None:
    theirs = Owner(stack=PREFIX, deployment=deployment)
    log = docker(
        container_inspect=container(theirs),
        network_ls="network-id\n",
        network_inspect=network(theirs, containers=("x",)),
    )
    with pytest.raises(
        RuntimeError, match="already runs a stack of this name that another state knows: the container x"
    ):
        remove_left_over_container(DAEMON, "x", OWNER)
    with pytest.raises(RuntimeError, match="already runs a stack of this name that another state knows: the network n"):
        remove_left_over_networks(DAEMON, "n", OWNER)
    assert {command.rpartition(" ")[0] for command in commands(log)} <= {
        "container inspect", "network inspect", "network ls --no-trunc --quiet --filter",
    }  # fmt: skip


def test_a_foreign_container_keeps_our_left_over_network(docker: Any) -> None:
    log = docker(
        network_ls="network-id\n",
        network_inspect=network(containers=("x",)),
        container_inspect=container(Owner(stack="other", deployment="")),
    )
    with pytest.raises(RuntimeError, match=r"the container x .* is not this stack's"):
        remove_left_over_networks(DAEMON, "n", OWNER)
    assert "network rm network-id" not in commands(log)


# --- The hooks, as the engine calls them ------------------------------------------------------------------------------


def hooks_of(engine: Engine) -> Any:
    engine.run(lambda: Host("host", building.host_args()))
    return engine.hooks


def before_create(name: str) -> pulumi.ResourceHookArgs:
    inputs = {"name": name, "labels": [{"label": key, "value": value} for key, value in (labels(OWNER) or {}).items()]}
    return pulumi.ResourceHookArgs(urn="urn", id="", name="n", type="t", new_inputs=inputs)


def failure(*errors: str) -> pulumi.ErrorHookArgs:
    return pulumi.ErrorHookArgs(
        urn="urn", id="", name="n", type="t", new_inputs={"name": "reflector-test-caddy"}, failed_operation="create",
        errors=list(errors),
    )  # fmt: skip


def test_the_engine_clears_a_left_over_container_before_it_makes_one(engine: Engine, docker: Any) -> None:
    log = docker(container_inspect=container(), stop="", rm="")
    asyncio.run(hooks_of(engine)["host-left-over-containers"](before_create("x")))
    assert commands(log)[-1] == "rm --force x"


def test_the_engine_clears_a_left_over_network_before_it_makes_one(engine: Engine, docker: Any) -> None:
    log = docker(network_ls="network-id\n", network_inspect=network(), network_rm="")
    asyncio.run(hooks_of(engine)["host-left-over-networks"](before_create("n")))
    assert commands(log)[-1] == "network rm network-id"


def test_networks_that_share_a_left_over_container_are_cleared_one_after_the_other(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    clear = hooks_of(engine)["host-left-over-networks"]
    under_way: list[str] = []
    together: list[int] = []

    def remove(_: Daemon, name: str, __: Owner) -> None:
        under_way.append(name)
        time.sleep(0.05)
        together.append(len(under_way))
        under_way.remove(name)

    async def all_at_once() -> None:
        await asyncio.gather(*(clear(before_create(name)) for name in ("a", "b", "c", "d")))

    monkeypatch.setattr("components.hosts.host.remove_left_over_networks", remove)
    asyncio.run(all_at_once())
    assert together == [1, 1, 1, 1], "Docker refuses to remove a container that somebody else is removing"


def volume(owner: Owner | None) -> str:
    """Return what the daemon knows of a volume."""
    return json.dumps([{"Name": "v", "Labels": labels(owner)}])


@pytest.mark.parametrize("owner", [OWNER, Owner(stack=PREFIX, deployment=""), None])
def test_a_volume_of_ours_of_an_earlier_release_or_of_nobody_is_found_again(
    engine: Engine, docker: Any, owner: Owner | None
) -> None:
    log = docker(volume_inspect=volume(owner))
    asyncio.run(hooks_of(engine)["host-other-volumes"](before_create("v")))
    assert commands(log) == ["volume inspect v"]


def test_a_volume_that_is_not_there_is_made(engine: Engine, docker: Any) -> None:
    docker(volume_inspect={"status": 1, "stderr": "Error: No such volume: v"})
    asyncio.run(hooks_of(engine)["host-other-volumes"](before_create("v")))


def test_a_volume_of_another_state_is_refused(engine: Engine, docker: Any) -> None:
    docker(volume_inspect=volume(Owner(stack=PREFIX, deployment="fedcba9876543210")))
    with pytest.raises(RuntimeError, match="another state knows: the volume v is not this state's"):
        asyncio.run(hooks_of(engine)["host-other-volumes"](before_create("v")))


def test_a_deployment_whose_state_is_lost_is_gone_on_with(engine: Engine) -> None:
    engine.run(lambda: Host("host", building.host_args(adopt="0123456789abcdef")))
    assert engine.named("host-deployment").request.importId == "ASNFZ4mrze8", "its bytes, as the provider spells them"


def test_without_one_to_go_on_with_a_deployment_is_made(engine: Engine) -> None:
    engine.run(lambda: building.host())
    assert engine.named("host-deployment").request.importId == ""


@pytest.mark.parametrize(("shown", "lines"), [(True, 20), (False, 0)])
def test_the_log_of_a_failed_container_is_shown_unless_it_is_not_to_be(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, shown: bool, lines: int
) -> None:
    engine.run(lambda: Host("host", building.host_args(show_logs=shown)))
    said: list[str] = []
    monkeypatch.setattr(type(DAEMON), "last_words", lambda _, __, lines: f"{lines} lines")
    monkeypatch.setattr(pulumi.log, "error", said.append)
    hooks: Any = engine.hooks
    asyncio.run(hooks["host-last-words"](failure("container is not healthy")))
    assert said == [f"reflector-test-caddy did not become healthy\n{lines} lines"]


def test_networks_are_guarded_and_labelled(engine: Engine) -> None:
    hooks_of(engine)
    made = engine.of_type(building.NETWORK)
    assert {resource.name for resource in made} == {f"host-{role}" for role in NETWORKS}
    for resource in made:
        assert list(resource.request.hooks.before_create) == ["host-left-over-networks"]
        assert resource.plain("labels") == [
            {"label": "org.reflector.deployment", "value": DEPLOYMENT},
            {"label": "org.reflector.stack", "value": PREFIX},
        ]
    assert engine.named("host-deployment").request.protect, "without it nothing on the host would be known again"


def test_networks_go_at_the_end_all_at_once_by_our_label(engine: Engine) -> None:
    engine.run(lambda: building.host())
    removal = engine.named("host-networks-removal")
    assert removal.inputs.keys() == {"delete", "environment"}, "nothing is to be done before"
    assert 'label=org.reflector.deployment=$DEPLOYMENT"' in removal.plain("delete")
    assert removal.plain("environment")["DEPLOYMENT"] == DEPLOYMENT
    networks = engine.of_type(building.NETWORK)
    assert networks
    assert {network.request.deletedWith for network in networks} == {removal.urn}, "the provider waits for each"


def test_a_container_is_gone_before_its_networks_are(engine: Engine) -> None:
    engine.run(
        lambda: Redis("redis", RedisArgs(host=building.host(), image=Image(id=building.IMAGE_ID), memory_mib=64))
    )
    removal = engine.named("host-networks-removal")
    assert removal.urn in engine.named("redis-container").request.dependencies


@pytest.mark.parametrize("role", sorted(NETWORKS))
def test_data_networks_have_no_route_out(engine: Engine, role: str) -> None:
    hooks_of(engine)
    assert engine.named(f"host-{role}").plain("internal") is (role != "application")


def test_a_container_that_does_not_become_healthy_says_why(
    engine: Engine, docker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "error", said.append)
    log = docker(container_inspect=container(), logs="the reason\n")
    retry = asyncio.run(hooks_of(engine)["host-last-words"].callback(failure("container did not become healthy")))
    assert retry is False, "the next run replaces it; trying at once would only hide the reason"
    assert said[0].startswith("reflector-test-caddy did not become healthy\n")
    assert "the reason" in said[0]
    assert commands(log)[1] == "logs --tail 20 reflector-test-caddy"


def test_a_container_that_never_ran_is_not_asked_for_last_words(engine: Engine, docker: Any) -> None:
    log = docker()
    assert asyncio.run(hooks_of(engine)["host-last-words"].callback(failure("no such image"))) is False
    assert commands(log) == []


@pytest.mark.parametrize(("networks", "unknown"), [({"application", "nowhere"}, ["nowhere"]), ({"b", "a"}, ["a", "b"])])
def test_a_network_nobody_knows_is_refused_by_name(networks: set[str], unknown: list[str]) -> None:
    with pytest.raises(ValueError) as refusal:
        building.build(lambda _: building.host_args(networks=frozenset(networks)))
    assert (
        str(refusal.value)
        == f"networks: {unknown} not among ['application', 'cache', 'database', 'identity', 'storage']"
    )


def test_only_the_networks_in_use_are_made_and_handed_over(engine: Engine) -> None:
    handle = engine.run(lambda: building.host(networks=frozenset({"application", "cache"})))
    assert {network.name for network in engine.of_type(building.NETWORK)} == {"host-application", "host-cache"}
    assert handle.networks.keys() == {"application", "cache"}
    assert handle.internal_networks == {"cache"}


# --- From settings ----------------------------------------------------------------------------------------------------


def host_of(engine: Engine, settings: HostSettings, proxy: Proxy = NO_PROXY, **given: Any) -> DockerHost:
    """Return the host the room makes of settings."""
    return engine.run(
        lambda: hosts.docker_host(
            "host",
            settings,
            Health(interval_seconds=3, start_interval_seconds=1, startup_limit_seconds=60),
            proxy,
            prefix="reflector-test",
            networks=frozenset({"application"}),
            **given,
        )
    )


def test_a_local_host_is_reached_by_its_address_alone(engine: Engine) -> None:
    handle = host_of(engine, HostSettings())
    (made,) = engine.of_type("pulumi:providers:docker")
    assert made.inputs == {"host": "unix:///var/run/docker.sock"}
    assert handle.daemon == Daemon(address="unix:///var/run/docker.sock")
    assert handle.container_name("redis") == "reflector-test-redis"
    assert (handle.health_interval_seconds, handle.start_interval_seconds, handle.startup_limit_seconds) == (3, 1, 60)


def test_a_host_with_certificates_is_reached_with_them_and_the_key_stays_secret(engine: Engine, tmp_path: Path) -> None:
    authority, certificate, key = docker_client(tmp_path)
    handle = host_of(engine, HostSettings(address="tcp://docker.test:2376", certificates=str(tmp_path)))
    (made,) = engine.of_type("pulumi:providers:docker")
    assert (made.plain("caMaterial"), made.plain("certMaterial")) == (authority, certificate)
    assert made.plain("keyMaterial") == key
    assert made.is_secret("keyMaterial")
    assert handle.daemon.environment["DOCKER_CERT_PATH"] == str(tmp_path), "hooks and steps need them too"


def test_networks_are_made_by_the_provider_of_their_host(engine: Engine) -> None:
    host_of(engine, HostSettings())
    for network in engine.of_type(building.NETWORK):
        assert "pulumi:providers:docker::host::" in network.request.provider


# --- Logins -----------------------------------------------------------------------------------------------------------


def logins_of(engine: Engine, *logins: RegistryLogin) -> Any:
    host_of(engine, HostSettings(), logins=logins)
    (made,) = engine.of_type("pulumi:providers:docker")
    return made


def test_a_login_reaches_the_provider_and_its_password_stays_secret(engine: Engine) -> None:
    login = RegistryLogin(address="mirror.test:5000", username="me", password=Secret("HandedPassword"))
    made = logins_of(engine, login)
    assert json.loads(made.plain("registryAuth")) == [
        {"address": "mirror.test:5000", "username": "me", "password": "HandedPassword"}
    ]
    assert made.is_secret("registryAuth")
    assert "HandedPassword" not in made.open_text()


def test_a_login_for_docker_hub_is_found_whether_or_not_a_reference_names_it(engine: Engine) -> None:
    made = logins_of(engine, RegistryLogin(address="docker.io", username="me", password=Secret("x")))
    addresses = [entry["address"] for entry in json.loads(made.plain("registryAuth"))]
    assert addresses == ["docker.io", "registry-1.docker.io"]


def test_the_users_own_logins_are_read_by_the_provider(engine: Engine) -> None:
    made = logins_of(engine, RegistryLogin(address="ghcr.io", docker_config="~/.docker/config.json"))
    assert json.loads(made.plain("registryAuth")) == [{"address": "ghcr.io", "configFile": "~/.docker/config.json"}]


# --- The proxy --------------------------------------------------------------------------------------------------------

LOGIN: Final = ProxyLogin(username="me", password=Secret("HandedPassword"))


def test_a_proxy_with_a_login_is_a_secret(engine: Engine) -> None:
    handle = host_of(
        engine, HostSettings(), Proxy(http="http://p.test:1", https="http://p.test:2", login=LOGIN), direct=["server"]
    )
    assert {name: value_of(pulumi.Output.from_input(value)) for name, value in handle.proxy.items()} == {
        **dict.fromkeys(("HTTP_PROXY", "http_proxy"), "http://me:HandedPassword@p.test:1"),
        **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://me:HandedPassword@p.test:2"),
        **dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,127.0.0.1,::1,0.0.0.0,server"),
        "NODE_USE_ENV_PROXY": "1",
    }
    assert is_secret(pulumi.Output.from_input(handle.proxy["HTTP_PROXY"]))
    assert "HandedPassword" not in repr(handle)


def test_without_a_proxy_no_service_is_told_of_one(engine: Engine) -> None:
    assert host_of(engine, HostSettings()).proxy == {}


# --- Addresses --------------------------------------------------------------------------------------------------------


def test_without_a_pool_docker_chooses_the_addresses(engine: Engine) -> None:
    host_of(engine, HostSettings())
    assert "ipamConfigs" not in engine.named("host-application").inputs, "or every stack's networks would be replaced"


def test_each_network_has_its_part_of_the_pool_with_the_gateway_docker_reports(engine: Engine) -> None:
    pieces = HostSettings(subnets="10.213.0.0/20").pieces
    engine.run(lambda: Host("host", building.host_args(pieces=pieces)))
    assert {role: engine.named(f"host-{role}").plain("ipamConfigs") for role in NETWORKS} == {
        role: [{"subnet": f"10.213.{place}.0/24", "gateway": f"10.213.{place}.1"}]
        for place, role in enumerate(NETWORKS)
    }


def test_a_part_goes_by_the_role_and_not_by_which_others_are_in_use(engine: Engine) -> None:
    assert list(NETWORKS)[:4] == ["application", "database", "cache", "storage"], "others would move what is running"
    pieces = HostSettings(subnets="192.168.2.0/23").pieces
    engine.run(lambda: Host("host", building.host_args(pieces=pieces, networks=frozenset({"cache"}))))
    assert engine.named("host-cache").plain("ipamConfigs") == [{"subnet": "192.168.2.64/27", "gateway": "192.168.2.65"}]


def test_there_is_an_address_for_every_role() -> None:
    with pytest.raises(ValueError, match=f"pieces must be {len(NETWORKS)} or more, not 1"):
        building.build(lambda _: building.host_args(pieces=HostSettings(subnets="10.0.0.0/8").pieces[:1]))
