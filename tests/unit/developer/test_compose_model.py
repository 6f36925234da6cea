"""A deployed stack as a compose project: from what Docker and the engine's state say to the same containers again."""

import copy
import json
from typing import Any

import pytest

from developer.compose_model import (
    ComparisonError,
    Deployed,
    by_service,
    compose_model,
    deployment,
    described,
    differences,
)

URN = "urn:pulumi:dev::reflector::"
CONTAINER = "docker:index/container:Container"


def secret(value: object) -> dict[str, str]:
    """Return `value` as the engine's state has a secret that it was asked to show."""
    return {
        "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
        "plaintext": json.dumps(value),
    }


def resource(urn: str, kind: str, dependencies: tuple[str, ...] = (), **inputs: object) -> dict[str, Any]:
    return {"urn": URN + urn, "type": kind, "inputs": inputs, "dependencies": [URN + other for other in dependencies]}


def state(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"deployment": {"resources": list(resources)}}


def container(service: str, **changes: Any) -> dict[str, Any]:
    """Return what `docker inspect` says of a container, as far as it is read; `changes` by section."""
    inspected: dict[str, Any] = {
        "Id": "9e57528fefc0" + "0" * 52,
        "Name": f"/reflector-dev-{service}",
        "Image": "sha256:" + "a" * 64,
        "Config": {
            "Hostname": service,
            "Entrypoint": None,
            "Cmd": ["sh", "-c", "exec $0"],
            "User": "0:0",
            "Env": ["PRICE=5$", "EMPTY="],
            "Labels": {"org.reflector.service": service},
            "StopSignal": "SIGINT",
            "StopTimeout": 120,
            "Healthcheck": {
                "Test": ["CMD", "true"],
                "Interval": 3_000_000_000,
                "Timeout": 5_000_000_000,
                "StartPeriod": 60_000_000_000,
                "Retries": 5,
            },
        },
        "HostConfig": {
            "Memory": 256 * 1024**2,
            "MemorySwap": 256 * 1024**2,
            "ReadonlyRootfs": True,
            "CapAdd": ["CAP_NET_BIND_SERVICE"],
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "Tmpfs": {"/tmp": "rw,size=64m"},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m"}},
            "RestartPolicy": {"Name": "unless-stopped"},
            "PortBindings": {"8443/udp": [{"HostIp": "127.0.0.1", "HostPort": "8443"}]},
            "DeviceRequests": None,
        },
        "Mounts": [{"Type": "volume", "Name": "reflector-dev-data", "Destination": "/data", "RW": True}],
        "NetworkSettings": {
            "Networks": {
                "reflector-dev-application": {
                    "Aliases": ["s3.localhost", service, "9e57528fefc0", f"reflector-dev-{service}"],
                }
            }
        },
    }
    for section, values in changes.items():
        inspected[section] = {**inspected[section], **values} if isinstance(values, dict) else values
    return inspected


def test_a_container_waits_for_the_nearest_containers_behind_steps_and_networks() -> None:
    found = deployment(
        state(
            resource("host", "pulumi:providers:docker", host="unix:///run/docker.sock"),
            resource("network", "docker:index/network:Network"),
            resource("postgres", CONTAINER, ("network",), name="reflector-dev-postgres"),
            resource("databases", "command:local:Command", ("postgres",)),
            resource("hatchet", CONTAINER, ("databases", "network"), name="reflector-dev-hatchet"),
            resource("token", "command:local:Command", ("hatchet", "databases")),
            resource("server", CONTAINER, ("token",), name="reflector-dev-server"),
            resource("web", CONTAINER, ("server",), name="reflector-dev-web"),
        )
    )
    assert found.docker_host == "unix:///run/docker.sock"
    assert found.waits_for == {
        "reflector-dev-postgres": frozenset(),
        "reflector-dev-hatchet": {"reflector-dev-postgres"},
        # Through the token's own need of the database as well.
        "reflector-dev-server": {"reflector-dev-hatchet", "reflector-dev-postgres"},
        "reflector-dev-web": {"reflector-dev-server"},
    }


def test_files_are_taken_out_of_their_secrets_wherever_the_wrapping_is() -> None:
    found = deployment(
        state(
            resource("a", CONTAINER, name="a", uploads=secret([{"file": "/x", "content": "1"}])),
            resource("b", CONTAINER, name="b", uploads=[{"file": "/y", "content": secret("2")}]),
            resource("c", CONTAINER, name="c"),
        )
    )
    assert found.files == {"a": [{"file": "/x", "content": "1"}], "b": [{"file": "/y", "content": "2"}], "c": []}


def test_a_stack_that_is_down_has_no_containers() -> None:
    assert deployment(state(resource("key", "tls:index/privateKey:PrivateKey"))).waits_for == {}


def test_the_repr_of_what_was_read_holds_no_file() -> None:
    read = Deployed(docker_host="", files={"a": [{"file": "/x", "content": "hunter2"}]}, waits_for={})
    assert "hunter2" not in repr(read)


def test_a_graph_of_containers_becomes_one_of_services() -> None:
    containers = [container("web"), container("server")]
    graph = {"reflector-dev-web": frozenset({"reflector-dev-server"}), "reflector-dev-server": frozenset[str]()}
    assert by_service(graph, containers) == {"web": {"server"}, "server": set()}


def test_a_container_is_described_in_composes_own_terms() -> None:
    assert described(container("caddy"), "reflector-dev-") == {
        "image": "sha256:" + "a" * 64,
        "pull_policy": "never",
        "hostname": "caddy",
        "command": ["sh", "-c", "exec $0"],
        "user": "0:0",
        "environment": ["PRICE=5$", "EMPTY="],
        "mem_limit": 268435456,
        "memswap_limit": 268435456,
        "read_only": True,
        "cap_add": ["CAP_NET_BIND_SERVICE"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "tmpfs": ["/tmp:rw,size=64m"],
        "logging": {"driver": "json-file", "options": {"max-size": "10m"}},
        "restart": "unless-stopped",
        "stop_signal": "SIGINT",
        "stop_grace_period": "120s",
        "healthcheck": {
            "test": ["CMD", "true"], "interval": "3000ms", "timeout": "5000ms", "start_period": "60000ms", "retries": 5,
        },
        "volumes": [{"type": "volume", "source": "reflector-dev-data", "target": "/data", "read_only": False}],
        # Neither its id nor its name: compose's container has others.
        "networks": {"application": {"aliases": ["caddy", "s3.localhost"]}},
        "ports": [{"target": 8443, "protocol": "udp", "host_ip": "127.0.0.1", "published": "8443"}],
    }  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"HostConfig": {"DeviceRequests": [{"Count": -1}]}},
        {"Mounts": [{"Type": "bind", "Source": "/etc", "Destination": "/etc", "RW": False}]},
    ],
)
def test_what_compose_is_not_told_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ComparisonError, match="/reflector-dev-web has devices or mounts"):
        described(container("web", **changes), "reflector-dev-")


def test_the_project_has_the_same_data_files_and_networks_and_waits_alike() -> None:
    model = compose_model(
        "reflector-dev",
        [container("server"), container("web")],
        [
            {"Name": "reflector-dev-application", "Driver": "bridge", "Internal": False},
            {"Name": "reflector-dev-cache", "Driver": "bridge", "Internal": True},
        ],
        Deployed(
            docker_host="",
            files={
                "reflector-dev-server": [{"file": "/run.sh", "content": "echo $HOME\n", "permissions": "0555"}],
                "reflector-dev-web": [],
            },
            waits_for={
                "reflector-dev-server": frozenset(),
                "reflector-dev-web": frozenset({"reflector-dev-server"}),
            },
        ),
    )
    assert model["volumes"] == {"reflector-dev-data": {"external": True, "name": "reflector-dev-data"}}
    assert model["networks"] == {
        "application": {"driver": "bridge", "internal": False}, "cache": {"driver": "bridge", "internal": True},
    }  # fmt: skip
    assert model["configs"] == {"server-0": {"content": "echo $$HOME\n"}}
    assert model["services"]["server"]["configs"] == [{"source": "server-0", "target": "/run.sh", "mode": 0o555}]
    assert model["services"]["web"]["depends_on"] == {"server": {"condition": "service_healthy"}}


def test_compose_finds_no_variable_in_anything() -> None:
    read = Deployed(docker_host="", files={"reflector-dev-web": []}, waits_for={"reflector-dev-web": frozenset()})
    web = compose_model("reflector-dev", [container("web")], [], read)["services"]["web"]
    assert web["command"] == ["sh", "-c", "exec $$0"]
    assert web["environment"] == ["PRICE=5$$", "EMPTY="]


def test_what_compose_made_is_held_against_what_we_made() -> None:
    ours = container("web")
    theirs = copy.deepcopy(ours) | {"Id": "7f704530e692" + "0" * 52, "Name": "/reflector-dev-compose-web-1"}
    networks = theirs["NetworkSettings"]["Networks"]
    networks["reflector-dev-compose_application"] = {
        "Aliases": ["reflector-dev-compose-web-1", "web", "web", "s3.localhost", "7f704530e692"]
    }
    del networks["reflector-dev-application"]
    theirs["Config"]["Env"] = ["EMPTY=", "PRICE=5$"]
    assert differences(ours, "reflector-dev-", theirs, "reflector-dev-compose_") == []
    theirs["Config"]["StopTimeout"] = 10
    theirs["HostConfig"]["CapAdd"] = None
    assert differences(ours, "reflector-dev-", theirs, "reflector-dev-compose_") == ["cap_add", "stop_grace_period"]
