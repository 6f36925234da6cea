"""Garage's set-up script, run as the step runs it: its text, a `docker` on PATH, the state on standard input."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from rendering.garage import desired_state
from testing import building
from testing.commands import calls, fake_command, path_with

SCRIPT: Final[str] = building.built("Garage").named("it-bucket").plain("create")
ASK: Final = "exec --interactive reflector-test-garage /garage json-api"
KEY_ID: Final = "GK" + "0" * 24
SECRET: Final = "HandedSecret"
OTHER_SECRET: Final = "SecretInTheVolume"
NODE: Final = "ab" * 32
CAPACITY: Final = 2 * 1024**3
NOT_FOUND: Final = {"status": 1, "stderr": "Error: GetKeyInfo returned NoSuchAccessKey (404 Not Found)"}

FRESH: Final[Mapping[str, Any]] = {
    "GetClusterStatus": {"nodes": [{"id": NODE}]},
    "GetClusterLayout": {"version": 0, "roles": []},
    "UpdateClusterLayout": {},
    "ApplyClusterLayout": {},
    "GetKeyInfo": NOT_FOUND,
    "ImportKey": {"accessKeyId": KEY_ID},
    "GetBucketInfo": NOT_FOUND,
    "CreateBucket": {"id": "bucket-id", "keys": []},
    "AllowBucketKey": {},
    "UpdateBucket": {},
}
DONE: Final[Mapping[str, Any]] = {
    **FRESH,
    "GetClusterLayout": {"version": 3, "roles": [{"id": NODE, "capacity": CAPACITY}]},
    "GetKeyInfo": {"accessKeyId": KEY_ID, "secretAccessKey": SECRET},
    "GetBucketInfo": {
        "id": "bucket-id",
        "keys": [{"accessKeyId": KEY_ID, "permissions": {"read": True, "write": True}}],
    },
}


@dataclass(frozen=True, kw_only=True)
class Ran:
    status: int
    stdout: str
    stderr: str
    asked: list[tuple[str, Any]]
    """Endpoint and payload of every question to Garage, in order."""
    arguments: str
    """All arguments of all calls."""

    @property
    def endpoints(self) -> list[str]:
        return [endpoint for endpoint, _ in self.asked]


def run(folder: Path, answers: Mapping[str, Any]) -> Ran:
    """Run the script against a Garage that answers so."""
    log = fake_command(
        folder,
        "docker",
        {
            f"{ASK} {endpoint}": answer if "status" in answer else {"stdout": json.dumps(answer)}
            for endpoint, answer in answers.items()
        },
    )
    state = desired_state(
        capacity_gib=2, bucket="media", origins=["https://a.test"], access_key_id=KEY_ID, secret_access_key=SECRET
    )
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=state,
        env={**os.environ, "PATH": path_with(folder), "CONTAINER": "reflector-test-garage"},
        capture_output=True,
        text=True,
        check=False,
    )
    made = calls(log)
    return Ran(
        status=done.returncode,
        stdout=done.stdout,
        stderr=done.stderr,
        asked=[(call["arguments"][5], json.loads(call["stdin"]) if call["stdin"] else None) for call in made],
        arguments=" ".join(argument for call in made for argument in call["arguments"]),
    )


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The script run on an empty Garage."""
    return run(tmp_path_factory.mktemp("fresh"), FRESH)


def test_an_empty_garage_is_brought_to_the_desired_state_in_order(fresh: Ran) -> None:
    assert fresh.status == 0, fresh.stderr
    assert fresh.endpoints == [
        "GetClusterStatus", "GetClusterLayout", "UpdateClusterLayout", "ApplyClusterLayout", "GetKeyInfo", "ImportKey",
        "GetBucketInfo", "CreateBucket", "AllowBucketKey", "UpdateBucket",
    ]  # fmt: skip


def test_the_layout_gives_the_one_node_its_capacity_as_the_next_version(fresh: Ran) -> None:
    asked = dict(fresh.asked)
    assert asked["UpdateClusterLayout"] == {"roles": [{"id": NODE, "zone": "dc1", "capacity": CAPACITY, "tags": []}]}
    assert asked["ApplyClusterLayout"] == {"version": 1}


def test_the_key_may_read_and_write_its_bucket_and_no_more(fresh: Ran) -> None:
    asked = dict(fresh.asked)
    assert asked["AllowBucketKey"] == {
        "bucketId": "bucket-id", "accessKeyId": KEY_ID, "permissions": {"read": True, "write": True, "owner": False},
    }  # fmt: skip


def test_browsers_of_the_edge_may_use_presigned_urls(fresh: Ran) -> None:
    (rule,) = dict(fresh.asked)["UpdateBucket"]["body"]["corsRules"]
    assert rule["AllowedOrigin"] == ["https://a.test"]
    assert rule["ExposeHeader"] == ["ETag"]


def test_the_secret_is_never_an_argument_nor_printed(fresh: Ran) -> None:
    assert dict(fresh.asked)["ImportKey"]["secretAccessKey"] == SECRET
    assert SECRET not in fresh.arguments + fresh.stdout + fresh.stderr


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    ran = run(tmp_path, DONE)
    assert ran.status == 0, ran.stderr
    assert ran.endpoints == ["GetClusterStatus", "GetClusterLayout", "GetKeyInfo", "GetBucketInfo", "UpdateBucket"]
    assert ran.stdout == "", "nothing was changed, so nothing is said"


def test_another_capacity_is_taken_over(tmp_path: Path) -> None:
    layout = {"version": 3, "roles": [{"id": NODE, "capacity": 1024}]}
    assert dict(run(tmp_path, {**DONE, "GetClusterLayout": layout}).asked)["ApplyClusterLayout"] == {"version": 4}


def test_lost_rights_are_given_back(tmp_path: Path) -> None:
    bucket = {"id": "bucket-id", "keys": [{"accessKeyId": KEY_ID, "permissions": {"read": True, "write": False}}]}
    assert "AllowBucketKey" in run(tmp_path, {**DONE, "GetBucketInfo": bucket}).endpoints


def test_another_stacks_volume_is_refused(tmp_path: Path) -> None:
    ran = run(tmp_path, {**DONE, "GetKeyInfo": {"accessKeyId": KEY_ID, "secretAccessKey": OTHER_SECRET}})
    assert ran.status == 1
    assert "this volume belongs to another stack" in ran.stderr
    assert not any(secret in ran.stdout + ran.stderr for secret in (SECRET, OTHER_SECRET)), "no secret in an error"


def test_a_cluster_of_several_nodes_is_refused(tmp_path: Path) -> None:
    ran = run(tmp_path, {**DONE, "GetClusterStatus": {"nodes": [{"id": NODE}, {"id": "cd" * 32}]}})
    assert (ran.status, ran.endpoints) == (1, ["GetClusterStatus"])
    assert "expected a cluster of one node, found 2" in ran.stderr


def test_any_other_refusal_ends_the_step_with_garages_own_words(tmp_path: Path) -> None:
    ran = run(tmp_path, {**FRESH, "ImportKey": {"status": 1, "stderr": "InvalidRequest (400 Bad Request): no"}})
    assert ran.status == 1
    assert "Garage refused ImportKey: InvalidRequest (400 Bad Request): no" in ran.stderr
    assert "CreateBucket" not in ran.endpoints
