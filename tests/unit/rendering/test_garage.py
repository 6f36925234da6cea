"""Garage's own configuration, and the state it is brought to."""

import json
import tomllib

from rendering import garage


def test_garages_configuration_is_toml_with_its_secrets_elsewhere() -> None:
    config = tomllib.loads(garage.config())
    assert config["rpc_secret_file"] == "/etc/garage/rpc_secret"
    assert config["admin"]["admin_token_file"] == "/etc/garage/admin_token"
    assert {"rpc_secret", "admin_token"}.isdisjoint({*config, *config["admin"]})


def test_garage_keeps_its_single_copy_safe() -> None:
    config = tomllib.loads(garage.config())
    assert config["replication_factor"] == 1
    assert config["metadata_fsync"] is True
    assert config["data_fsync"] is True


def test_garages_metrics_are_not_open_to_every_container() -> None:
    assert tomllib.loads(garage.config())["admin"]["metrics_require_token"] is True


def test_garage_listens_where_the_edge_and_the_backend_look() -> None:
    config = tomllib.loads(garage.config())
    assert config["s3_api"]["api_bind_addr"] == "[::]:3900"
    assert config["s3_api"]["s3_region"] == garage.REGION


def test_garages_desired_state_counts_bytes() -> None:
    state = json.loads(
        garage.desired_state(capacity_gib=3, bucket="b", origins=["o"], access_key_id="i", secret_access_key="s")
    )
    assert state == {
        "capacity_bytes": 3221225472, "bucket": "b", "origins": ["o"], "access_key_id": "i", "secret_access_key": "s",
    }  # fmt: skip
