"""Garage's bucket: whose it is after a state was lost, and what is kept of uploads that never ended."""

import json
import time
from collections.abc import Mapping
from typing import Any, Final

import pytest

from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker

# As Reflector's own client is made; prints the error code of the store, or nothing.
TRY_KEY: Final = """
import json, os, sys
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError
key = json.load(sys.stdin)
environment = {name.removeprefix("TRANSCRIPT_STORAGE_AWS_"): value for name, value in os.environ.items()}
client = botocore.session.get_session().create_client(
    "s3", region_name=environment["REGION"], endpoint_url=environment["ENDPOINT_URL"],
    aws_access_key_id=key["id"], aws_secret_access_key=key["secret"], config=Config(s3={"addressing_style": "path"}))
try:
    where = {"Bucket": environment["BUCKET_NAME"], "Key": "e2e/unfinished"}
    upload = client.create_multipart_upload(**where)["UploadId"]
    client.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"part")
except ClientError as error:
    print(error.response["Error"]["Code"])
"""


def key_in_use(stack: Stack) -> dict[str, str]:
    """Return the access key the server has."""
    variables = dict(line.split("=", 1) for line in stack.inside("server", "env").splitlines() if "=" in line)
    prefix = "TRANSCRIPT_STORAGE_AWS_"
    return {"id": variables[f"{prefix}ACCESS_KEY_ID"], "secret": variables[f"{prefix}SECRET_ACCESS_KEY"]}


def refusal(stack: Stack, key: Mapping[str, str]) -> str:
    """Return the code with which the store refuses the beginning of an upload with a key; empty if it does not."""
    return stack.inside("worker", "python3", "-c", TRY_KEY, stdin=json.dumps(key)).strip()


def ask(stack: Stack, endpoint: str, payload: object) -> Any:
    """Return an answer of Garage's admin interface."""
    return json.loads(stack.inside("garage", "/garage", "json-api", endpoint, "-", stdin=json.dumps(payload)))


def bucket_of(stack: Stack) -> Any:
    """Return what Garage knows of the bucket."""
    name = stack.outputs()["storage"]["bucket"]
    return ask(stack, "GetBucketInfo", {"id": None, "globalAlias": name, "search": None})


def test_what_is_left_of_an_upload_has_an_end_and_what_is_whole_has_none(deployment: Stack) -> None:
    assert refusal(deployment, key_in_use(deployment)) == ""
    deadline = time.monotonic() + 30
    # Garage counts a moment later.
    while (bucket := bucket_of(deployment))["unfinishedMultipartUploads"] < 1:
        assert time.monotonic() < deadline, "an upload was begun"
        time.sleep(0.5)
    assert bucket["lifecycleRules"] == [
        {
            "ID": "unfinished-uploads",
            "Status": "Enabled",
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
        }
    ]
    told = json.loads(deployment.run("status", "--json", "--no-sizes").succeeded().output)["unfinished_uploads"]
    assert told == {"count": bucket["unfinishedUploads"], "bytes": bucket["unfinishedMultipartUploadBytes"]}
    assert told["count"] >= 1


def test_the_region_another_stacks_store_expects_is_told_by_the_store_itself(deployment: Stack) -> None:
    """Case f16: by the running Garage, before anything is changed; the file alone is another one for a moment."""
    networks = deployment.containers()["garage"]["NetworkSettings"]["Networks"]
    endpoint = f"http://{networks[f'{deployment.prefix}-storage']['IPAddress']}:3900"
    key, bucket = key_in_use(deployment), deployment.outputs()["storage"]["bucket"]
    file = deployment.checkout.stack_file(deployment.name)
    content = file.read_text(encoding="utf-8")
    elsewhere = {"mode": "external", "endpoint": endpoint, "bucket": bucket, "access_key_id": key["id"]}
    try:
        deployment.pulumi("config", "set", "--secret", "--path", "storage.secret_access_key", key["secret"]).succeeded()
        secret = deployment.setting("storage.secret_access_key")
        said = {}
        for region in ("us-east-1", "garage"):
            deployment.configure({"storage": {**elsewhere, "region": region, "secret_access_key": secret}})
            said[region] = deployment.run("check")
    finally:
        file.write_text(content, encoding="utf-8")
    line = f"storage.region: 'us-east-1', while the store at {endpoint} expects region 'garage'"
    assert said["us-east-1"].status == 1
    assert line in said["us-east-1"].output
    assert (said["garage"].status, "expects region" in said["garage"].output) == (0, False)
    assert "could not be asked" not in said["garage"].output
    deployment.settled = True


def test_a_state_that_lost_the_key_makes_another_and_the_old_one_is_refused(deployment: Stack) -> None:
    traces = deployment.leave_traces()
    former = key_in_use(deployment)
    bucket = bucket_of(deployment)
    # A key of somebody else's that has nothing to do with this bucket, and must not be touched.
    other = ask(deployment, "CreateKey", {"name": "backup"})["accessKeyId"]
    deployment.settled = False
    lost = [deployment.urn(name) for name in ("garage-key-id", "garage-key-secret")]
    for urn in lost:
        deployment.pulumi("state", "unprotect", urn, "--yes").succeeded()
    replaced = [argument for urn in lost for argument in ("--replace", urn)]
    deployment.pulumi("up", "--yes", "--skip-preview", *replaced, timeout_seconds=900).succeeded()
    deployment.wait_until_healthy()
    deployment.settled = True

    key = key_in_use(deployment)
    assert key["id"] != former["id"]
    assert refusal(deployment, key) == ""
    assert refusal(deployment, former) == "AccessDenied"
    now = bucket_of(deployment)
    assert now["id"] == bucket["id"]
    rights = {one["accessKeyId"]: one["permissions"] for one in now["keys"] if any(one["permissions"].values())}
    assert rights == {key["id"]: {"read": True, "write": True, "owner": False}}
    assert other in {one["id"] for one in ask(deployment, "ListKeys", {})}
    assert traces.are_found_in(deployment)
    assert deployment.broken_wires() == {}
    assert deployment.planned() == {}
