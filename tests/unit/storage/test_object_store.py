"""What the room of storage makes of its settings: one handle, whatever is behind it."""

import sys
from typing import Any

import pulumi
import pytest

from components import storage
from components.base.handles import ObjectStore
from settings import Secret
from settings import storage as settings
from settings.edge import Place
from testing import building
from testing.building import Built, Neighbours
from testing.engine import is_secret, value_of


def made(chosen: Any, domain: str | None = None) -> Built:
    def build(near: Neighbours) -> ObjectStore:
        return storage.object_store(
            chosen,
            near.host,
            {"garage": near.image()},
            place=Place(domain=domain, url=f"https://{domain}", own_port=None) if domain else None,
            origins=["https://reflector.test"],
            certificate=near.certificate(),
        )

    return building.build(build)


def test_a_store_on_this_host_is_a_garage() -> None:
    built = made(settings.Garage(bucket="own-media", memory_mib=300, capacity_gib=7), "s3.reflector.test")
    assert built.named("garage-container").plain("memory") == 300
    assert (built.component.bucket, built.component.public_endpoint) == ("own-media", "https://s3.reflector.test")
    assert '"capacity_bytes": 7516192768' in built.named("garage-bucket").plain("stdin")


def test_a_store_in_aws_is_made_in_the_region_of_the_settings_and_no_other() -> None:
    built = made(settings.S3(bucket="own-media", region="eu-west-3"))
    (provider,) = built.engine.of_type("pulumi:providers:aws")
    assert provider.plain("region") == "eu-west-3", "or it would take one from the environment, or refuse"
    made_there = [one for one in built.engine.resources if one.type.startswith("aws:")]
    assert made_there
    assert all(f"{provider.urn}::" in one.request.provider for one in made_there)


def test_a_store_in_aws_says_what_is_missing_where_its_sdk_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pulumi_aws", None)
    with pytest.raises(pulumi.RunError, match=r"storage.mode s3 needs .* make setup, or.* -r requirements-aws.txt"):
        made(settings.S3(bucket="own-media", region="eu-west-3"))


def test_a_store_elsewhere_makes_nothing() -> None:
    chosen = settings.External(
        bucket="their-media", region="r", endpoint="https://objects.test", access_key_id="AKIA0",
        secret_access_key=Secret("ConfiguredSecret"),
    )  # fmt: skip
    built = made(chosen)
    store = built.component
    assert {one.name for one in built.engine.resources if "host" not in one.name} == {"anchor"}
    assert (store.public_endpoint, store.region, store.bucket) == ("https://objects.test", "r", "their-media")
    assert value_of(store.secret_access_key) == "ConfiguredSecret"
    assert is_secret(store.secret_access_key)


def test_a_store_elsewhere_without_an_endpoint_is_aws() -> None:
    chosen = settings.External(bucket="b12", region="r", access_key_id="A", secret_access_key=Secret("s"))
    assert made(chosen).component.public_endpoint == ""
