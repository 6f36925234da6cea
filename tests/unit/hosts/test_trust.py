"""Whom a Docker host itself trusts: what is told to it, by which names, and what is taken back."""

import base64
import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any, Final

import pulumi
import pytest

from components import hosts
from components.base.handles import NO_HOST_TRUST, TrustBundle, TrustingHost
from components.hosts.trust import HostTrust
from rendering import host_trust as rendering
from settings.hosts import Host as HostSettings
from testing import building
from testing.building import Neighbours, host_trust_args, pem_of
from testing.commands import calls, fake_command, path_with
from testing.engine import Engine, Registered

BODIES: Final = [base64.b64encode(name.encode()).decode() for name in ("first", "second", "third")]
PEMS: Final = [pem_of(body) for body in BODIES]


def name_of(name: str, body: str) -> str:
    sha256 = hashlib.sha256(base64.b64decode(body)).hexdigest()
    return f"reflector-test_{name}_{sha256[:8]}.crt {sha256}"


def built(**given: Any) -> Engine:
    return building.build(lambda near: HostTrust("it", host_trust_args(near, **given))).engine


def command(engine: Engine, name: str) -> Registered:
    return engine.named(f"it-{name}")


def test_a_preview_shows_the_files_and_the_fingerprints_of_what_is_installed() -> None:
    engine = built(authorities=[("stack", PEMS[0]), ("corp", PEMS[1]), ("corp", PEMS[2])])
    expected = [name_of("stack", BODIES[0]), name_of("corp", BODIES[1]), name_of("corp", BODIES[2])]
    for part in ("store", "registries"):
        environment = command(engine, part).plain("environment")
        assert environment["AUTHORITIES"].splitlines() == expected
        assert command(engine, part).plain("stdin") == "".join(PEMS)
    assert command(engine, "registries").plain("environment")["REGISTRIES"] == "registry.test:5000\n"


def test_who_asks_for_registries_alone_gives_no_write_access_to_the_whole_host() -> None:
    engine = built(system_store=False)
    assert not [one for one in engine.resources if one.name == "it-store"]
    assert command(engine, "registries").plain("environment")["BINDS"] == rendering.WRITES_DOCKER
    assert not [one for one in built(registries=()).resources if one.name == "it-registries"]


def test_it_goes_to_the_stacks_own_daemon_and_nothing_of_it_is_secret_or_triggers_a_replacement() -> None:
    made = command(built(), "store")
    assert made.plain("environment")["DOCKER_HOST"] == "unix:///var/run/docker.sock"
    assert "triggers" not in made.inputs
    # What is replaced all the same takes away what it put there before, and not after, the new one is made.
    assert made.request.deleteBeforeReplace


@pytest.mark.parametrize("part", ["store", "registries"])
@pytest.mark.parametrize("when", ["create", "update", "delete"])
def test_what_is_deleted_is_told_to_trust_nobody(tmp_path: Path, part: str, when: str) -> None:
    log = fake_command(tmp_path, "docker", {"image inspect": "[]", "run": ""})
    made = command(built(), part)
    variables = {name: str(value) for name, value in made.plain("environment").items()}
    subprocess.run(
        ["sh", "-c", made.plain(when)],
        env={**os.environ, **variables, "PATH": path_with(tmp_path)}, input=made.plain("stdin"), text=True, check=True,
    )  # fmt: skip
    run = calls(log)[-1]
    assert run["environment"]["TASK"] == part
    told = [run["stdin"], run["environment"]["AUTHORITIES"], run["environment"].get("REGISTRIES", "")]
    if when == "delete":
        assert told == ["", "", ""]
    else:
        assert told[0] == made.plain("stdin") != ""
        assert told[1] == variables["AUTHORITIES"] != ""


@pytest.mark.parametrize(
    ("authorities", "said"),
    [
        ([], "authorities: there is none to be trusted"),
        ([("a_b", PEMS[0])], "'a_b' is no name"),
        ([("", "")], "no name"),
    ],
)
def test_what_could_be_taken_for_anothers_is_refused(authorities: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        built(authorities=authorities)


def handed(settings: dict[str, Any], roots: TrustBundle) -> TrustingHost:
    def make(near: Neighbours) -> TrustingHost:
        host = HostSettings.model_validate(settings)
        return hosts.host_trust("trust", host, near.host, roots=roots, trusted=[("corp", PEMS[1])])

    found = building.build(make).component
    assert isinstance(found, TrustingHost)
    return found


def test_a_host_that_is_told_nothing_has_no_resource_for_it() -> None:
    assert handed({}, TrustBundle(certificates=PEMS[:1])) is NO_HOST_TRUST


def test_only_registries_are_waited_for_before_images_are_pulled() -> None:
    roots = TrustBundle(certificates=[pulumi.Output.from_input(PEMS[0])])
    store = handed({"trust": {"system_store": True}}, roots)
    assert (store.names, len(store.ready), store.pulls) == (["main"], 1, None)
    both = handed({"trust": {"system_store": True, "registries": ["registry.test"]}}, roots)
    assert len(both.ready) == 2
    assert both.pulls is not None
