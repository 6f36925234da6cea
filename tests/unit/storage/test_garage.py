"""Garage: one bucket, a key for it, and a site at the edge."""

import json

import pytest

from components.base.handles import ObjectStore
from components.storage.garage import UID
from testing import building
from testing.building import token_of
from testing.engine import value_of

BUILT = building.built("Garage")
STORE: ObjectStore = BUILT.component.store


def test_a_capacity_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity_gib must be 1 or more, not 0"):
        building.build(lambda near: building.garage_args(near, capacity_gib=0))


def test_it_sits_on_its_internal_network_alone() -> None:
    assert building.networks_of(BUILT.named("it-container")) == {"reflector-test-storage": ["garage"]}
    assert BUILT.named("host-storage").plain("internal") is True


def test_garages_secrets_are_files_only_it_can_read() -> None:
    container = BUILT.named("it-container")
    modes = {upload["file"]: upload["permissions"] for upload in container.plain("uploads")}
    assert modes == {"/etc/garage.toml": "0444", "/etc/garage/admin_token": "0400", "/etc/garage/rpc_secret": "0400"}
    assert container.plain("user") == f"{UID}:{UID}"
    assert container.is_secret("uploads")


def test_garages_key_has_the_form_garage_insists_on() -> None:
    key_id = value_of(STORE.access_key_id)  # type: ignore[arg-type]  # an output here
    assert key_id == f"GK{token_of('it-key-id', 12)}"
    assert len(key_id) == 26


def test_garage_is_set_up_from_standard_input_beside_the_engine() -> None:
    setup = BUILT.named("it-bucket")
    assert setup.plain("interpreter") == ["python3", "-c"]
    assert setup.is_secret("stdin")
    state = json.loads(setup.plain("stdin"))
    assert (state["bucket"], state["capacity_bytes"], state["origins"]) == (
        "media", 2 * 1024**3, ["https://reflector.test"],
    )  # fmt: skip
    assert state["secret_access_key"] == token_of("it-key-secret")


def test_the_object_store_is_ready_once_its_bucket_is() -> None:
    assert [value_of(resource.urn) for resource in STORE.ready] == [BUILT.named("it-bucket").urn]


def test_the_edge_is_handed_a_site_that_leads_to_garage_and_is_served_as_it_is() -> None:
    (site,) = STORE.sites
    assert (site.names, site.network) == (["s3.reflector.test"], "storage")
    assert [(route.paths, route.upstream) for route in site.routes] == [((), "http://garage:3900")]
    assert not site.policy.compress
    assert site.policy.headers == {}, "what S3 clients get must be what the store said"
    assert site.certificate.name == "edge-certificate"


def test_it_is_handed_over_by_the_url_people_see() -> None:
    assert STORE.public_endpoint == "https://s3.reflector.test", "presigned URLs carry it, inside and outside"
    assert [service.name for service in STORE.services] == ["garage"]
