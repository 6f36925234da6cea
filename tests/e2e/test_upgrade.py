"""A stack that an earlier release has deployed is taken over as it is."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest

from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker

FORMER: Final[Mapping[str, str]] = {
    # Name of a resource → what it was called before the settings became a tree.
    "authority-1-key": "authority-key",
    "authority-1-certificate": "authority-certificate",
    "edge-certificate-1-key": "edge-certificate-key",
    "edge-certificate-1-request": "edge-certificate-request",
    "edge-certificate-1-certificate": "edge-certificate-certificate",
    "sign-in-admin": "reflector-admin",
    "sign-in-admin-salt": "reflector-admin-salt",
}
MOVED: Final = ("reflector:password:PasswordSignIn", "reflector:reflector:Reflector")
"""The component whose resources were another one's: there was no room for sign-in."""


def name_of(resource: Mapping[str, Any]) -> str:
    return str(resource["urn"]).rpartition("::")[2]


def as_an_earlier_release_left_it(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state as it would be had it been made before the settings became a tree, under the names of then."""
    resources: list[dict[str, Any]] = state["deployment"]["resources"]
    (component,) = (resource for resource in resources if resource["type"] == MOVED[0])
    (owner,) = (resource for resource in resources if resource["type"] == MOVED[1])
    urns = {component["urn"]: owner["urn"]}
    for resource in resources:
        name = name_of(resource)
        if name in FORMER:
            within = resource["urn"].removesuffix(name).replace(f"{MOVED[0]}$", f"{MOVED[1]}$")
            urns[resource["urn"]] = f"{within}{FORMER[name]}"
    # A state names a parent before its children, so the later one takes the place of the one that goes.
    order = [owner if one is component else one for one in resources if one is not owner]
    former = [{key: value for key, value in one.items() if key != "aliases"} for one in order]
    text = json.dumps({**state, "deployment": {**state["deployment"], "resources": former}})
    for urn, earlier in urns.items():
        text = text.replace(json.dumps(urn), json.dumps(earlier))
    renamed: dict[str, Any] = json.loads(text)
    return renamed


def test_an_upgrade_keeps_the_authority_the_password_the_rows_and_the_objects(deployment: Stack) -> None:
    traces = deployment.leave_traces()
    outputs, ids = deployment.outputs(), deployment.ids()
    today = deployment.export()
    former = as_an_earlier_release_left_it(today)
    names = {name_of(resource) for resource in former["deployment"]["resources"]}
    assert names >= set(FORMER.values()), "nothing would be tried"
    assert names.isdisjoint(FORMER)

    deployment.settled = False
    deployment.restore(former)
    planned = deployment.planned()
    if planned != {"sign-in": "create"}:
        # Other tests want their authority back.
        deployment.restore(today)
    assert planned == {"sign-in": "create"}, "a component holds nothing; whatever else is there must stay what it is"

    deployment.up()
    assert deployment.last_changes().keys() == {"same", "create"}
    assert deployment.ids() == ids, "no container has noticed"
    assert deployment.outputs() == outputs
    protected = {name_of(resource) for resource in deployment.resources() if resource.get("protect")}
    assert {"authority-1-key", "authority-1-certificate", "sign-in-admin", "sign-in-admin-salt"} <= protected
    assert traces.are_found_in(deployment)
    assert deployment.planned(refresh=True) == {}
