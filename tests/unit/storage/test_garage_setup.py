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

SCRIPT: Final[str] = building.script_of(building.built("Garage").named("it-bucket"))
ASK: Final = "exec --interactive reflector-test-garage /garage json-api"
KEY_ID: Final = "GK" + "0" * 24
SECRET: Final = "HandedSecret"
OTHER_SECRET: Final = "SecretInTheVolume"
NODE: Final = "ab" * 32
CAPACITY: Final = 2 * 1024**3
FORMER_ID: Final = "GK" + "f" * 24
RIGHTS: Final = {"read": True, "write": True, "owner": False}
NO_RIGHTS: Final = {"read": False, "write": False, "owner": False}


def refused(code: str) -> dict[str, Any]:
    """Return a refusal in Garage's words, below a line of its log."""
    return {"status": 1, "stderr": f"INFO garage_net::netapp: Connection established\nError: {code} (404): no\n"}


FRESH: Final[Mapping[str, Any]] = {
    "GetClusterStatus": {"nodes": [{"id": NODE}]},
    "GetClusterLayout": {"version": 0, "roles": []},
    "UpdateClusterLayout": {},
    "ApplyClusterLayout": {},
    "GetKeyInfo": refused("NoSuchAccessKey"),
    "ImportKey": {"accessKeyId": KEY_ID},
    "GetBucketInfo": refused("NoSuchBucket"),
    "CreateBucket": {"id": "bucket-id", "keys": []},
    "AllowBucketKey": {},
    "ListKeys": [{"id": KEY_ID, "name": "reflector"}],
    "UpdateBucket": {},
}
DONE: Final[Mapping[str, Any]] = {
    **FRESH,
    "GetClusterLayout": {"version": 3, "roles": [{"id": NODE, "capacity": CAPACITY}]},
    "GetKeyInfo": {"accessKeyId": KEY_ID, "secretAccessKey": SECRET},
    "GetBucketInfo": {
        "id": "bucket-id",
        "keys": [{"accessKeyId": KEY_ID, "permissions": RIGHTS}],
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
            f"{ASK} {endpoint}": answer
            if isinstance(answer, dict) and "status" in answer
            else {"stdout": json.dumps(answer)}
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
        "GetBucketInfo", "CreateBucket", "AllowBucketKey", "ListKeys", "UpdateBucket",
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
    assert rule["ExposeHeader"] == ["ETag", "Accept-Ranges", "Content-Length", "Content-Range"], "players seek by range"


def test_what_is_left_of_uploads_that_never_ended_goes_after_a_week_and_nothing_else(fresh: Ran) -> None:
    (rule,) = dict(fresh.asked)["UpdateBucket"]["body"]["lifecycleRules"]
    assert rule == {
        "ID": "unfinished-uploads", "Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    }  # fmt: skip


def test_the_secret_is_never_an_argument_nor_printed(fresh: Ran) -> None:
    assert dict(fresh.asked)["ImportKey"]["secretAccessKey"] == SECRET
    assert SECRET not in fresh.arguments + fresh.stdout + fresh.stderr


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    ran = run(tmp_path, DONE)
    assert ran.status == 0, ran.stderr
    assert ran.endpoints == [
        "GetClusterStatus",
        "GetClusterLayout",
        "GetKeyInfo",
        "GetBucketInfo",
        "ListKeys",
        "UpdateBucket",
    ]
    assert ran.stdout == "", "nothing was changed, so nothing is said"


def test_another_capacity_is_taken_over(tmp_path: Path) -> None:
    layout = {"version": 3, "roles": [{"id": NODE, "capacity": 1024}]}
    assert dict(run(tmp_path, {**DONE, "GetClusterLayout": layout}).asked)["ApplyClusterLayout"] == {"version": 4}


def test_lost_rights_are_given_back(tmp_path: Path) -> None:
    bucket = {"id": "bucket-id", "keys": [{"accessKeyId": KEY_ID, "permissions": {"read": True, "write": False}}]}
    assert "AllowBucketKey" in run(tmp_path, {**DONE, "GetBucketInfo": bucket}).endpoints


def test_the_keys_of_a_lost_state_lose_their_rights_and_no_other_does(tmp_path: Path) -> None:
    keys = [{"accessKeyId": KEY_ID, "permissions": RIGHTS}, {"accessKeyId": FORMER_ID, "permissions": RIGHTS}]
    known = {"buckets": [{"id": "bucket-id", "permissions": NO_RIGHTS}, {"id": "earlier-id", "permissions": RIGHTS}]}
    names = [
        {"id": KEY_ID, "name": "reflector"},
        {"id": FORMER_ID, "name": "reflector"},
        {"id": "GK1", "name": "backup"},
    ]
    ran = run(
        tmp_path,
        {
            **DONE,
            "GetBucketInfo": {"id": "bucket-id", "keys": keys},
            "ListKeys": names,
            # Asked for twice; the fake's answer serves both.
            "GetKeyInfo": {"accessKeyId": KEY_ID, "secretAccessKey": SECRET, **known},
            "DenyBucketKey": {},
        },
    )
    assert ran.status == 0, ran.stderr
    denied = [payload for endpoint, payload in ran.asked if endpoint == "DenyBucketKey"]
    assert [(one["bucketId"], one["accessKeyId"]) for one in denied] == [
        ("bucket-id", FORMER_ID), ("earlier-id", FORMER_ID),
    ]  # fmt: skip
    assert all(one["permissions"] == {"read": True, "write": True, "owner": True} for one in denied)
    assert "DeleteKey" not in ran.endpoints, "Garage would never take the same key again, and a state may come back"


@pytest.mark.parametrize(
    ("endpoint", "code"),
    [
        # Writes: something vanished under the step's hands.
        ("CreateBucket", "NoSuchAccessKey"),
        ("AllowBucketKey", "NoSuchBucket"),
        ("UpdateBucket", "NoSuchBucket"),
        # Look-ups: something else than what was looked for.
        ("GetBucketInfo", "NoSuchAccessKey"),
        ("GetKeyInfo", "NoSuchBucket"),
        ("ListKeys", "NoSuchAccessKey"),
    ],
)
def test_what_is_not_there_is_only_no_error_of_a_look_up_for_it(tmp_path: Path, endpoint: str, code: str) -> None:
    ran = run(tmp_path, {**FRESH, endpoint: refused(code)})
    assert ran.status == 1
    assert f"Garage refused {endpoint}: " in ran.stderr
    assert f"Error: {code} (404): no" in ran.stderr


def test_a_name_that_looks_like_an_error_code_is_none(tmp_path: Path) -> None:
    stderr = "Error: InternalError (500): bucket called Error: NoSuchBucket (404)"
    assert run(tmp_path, {**FRESH, "GetBucketInfo": {"status": 1, "stderr": stderr}}).status == 1


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
