"""Every rule no container may break can fail: a container that breaks it, and no other rule, is found."""

from dataclasses import replace
from typing import Any

import pytest

from testing import building
from testing.engine import Registered
from testing.rules import assert_rules, broken_rules

GOOD = building.built("Redis").named("it-container")


def without(key: str) -> Registered:
    return replace(GOOD, inputs={name: value for name, value in GOOD.inputs.items() if name != key})


def with_(**inputs: Any) -> Registered:
    return replace(GOOD, inputs={**GOOD.inputs, **inputs})


def asked(**fields: Any) -> Registered:
    """Return a container that was asked for with other options."""
    request = type(GOOD.request)()
    request.CopyFrom(GOOD.request)
    for name, value in fields.items():
        request.ClearField(name)
        if isinstance(value, list):
            getattr(request, name).extend(value)
        elif value is not None:
            setattr(request, name, value)
    return replace(GOOD, request=request)


def with_time_out(create: str) -> Registered:
    broken = asked()
    broken.request.customTimeouts.create = create
    return broken


def without_hooks() -> Registered:
    return asked(hooks=None)


BROKEN = [
    (with_(image="redis:7.4.1"), ["the image is not exactly one"]),
    (with_(name="redis"), ["it is not named for its stack and service"]),
    (without("hostname"), ["the host's own name leaks, and Celery's node name floats"]),
    (with_(networksAdvanced=[{"name": "n", "aliases": ["other"]}]), ["others cannot reach it by its name"]),
    (without("networksAdvanced"), ["others cannot reach it by its name"]),
    (with_(capabilities={"adds": ["CAP_CHOWN"]}), ["it keeps capabilities"]),
    (with_(capabilities={"drops": ["ALL"], "adds": ["CHOWN"]}), ["a capability without its prefix drifts"]),
    (without("securityOpts"), ["its processes can gain privileges"]),
    (with_(privileged=True), ["it is privileged"]),
    (with_(memorySwap=1024), ["it may swap, or has no limit of memory"]),
    (without("memory"), ["it may swap, or has no limit of memory"]),
    (without("networkMode"), ["the network mode drifts"]),
    (without("logDriver"), ["the log driver drifts"]),
    (with_(logOpts={"max-file": "3"}), ["its log could fill the disk"]),
    (with_(envs=["B=1", "A=2"]), ["the order of its environment is a change"]),
    (with_(wait=False), ["nobody would find out whether it works"]),
    (
        without("healthcheck"),
        ["nobody would find out whether it works", "a default of Docker's would decide how it is checked"],
    ),
    (with_time_out("1m0s"), ["the engine gives up before the provider, and hides why"]),
    (with_(restart="always"), ["it stays down after a restart of the host"]),
    (with_(stopTimeout=1), ["it is stopped with another grace than it is removed with"]),
    (
        without("destroyGraceSeconds"),
        ["it would be killed at once", "it is stopped with another grace than it is removed with"],
    ),
    (without("removeVolumes"), ["its anonymous volumes would go with it"]),
    (asked(replaceOnChanges=["image"]), ["a changed check or tmpfs would never reach it"]),
    (asked(deleteBeforeReplace=False), ["the new one would find its name taken"]),
    (asked(replacement_trigger=None), ["a network made anew would have nobody on it"]),
    (asked(protect=True), ["it cannot be replaced freely, and holds nothing"]),
    (
        without_hooks(),
        ["it would stumble over what an interrupted run left", "it would fail without a reason"],
    ),
    (asked(provider=""), ["it would be made on the daemon of whoever runs this"]),
    (
        with_(labels=[{"label": "org.reflector.service", "value": "redis"}]),
        ["it is not named for its stack and service", "an interrupted run's would not be known for ours"],
    ),
]  # fmt: skip


def test_a_container_that_keeps_every_rule_passes() -> None:
    assert_rules(GOOD)


@pytest.mark.parametrize(("container", "harm"), BROKEN, ids=lambda value: value[0] if isinstance(value, list) else "")
def test_a_container_that_breaks_a_rule_is_found(container: Registered, harm: list[str]) -> None:
    assert list(broken_rules(container)) == harm
    with pytest.raises(AssertionError, match=harm[0]):
        assert_rules(container)
