"""Brings a running Garage to a desired state. Runs as a step beside the engine, not inside the program.

Reads the desired state as JSON on standard input and asks Garage through `docker exec -i $CONTAINER /garage json-api`,
which takes its payload on standard input, so no secret is ever an argument. Garage's image has no shell to do this in.
Run again it changes nothing. Standard library only; its text is the step's script.
"""

import json
import os
import subprocess
import sys
from typing import Any, Final

COMMAND: Final = ("docker", "exec", "--interactive", os.environ.get("CONTAINER", ""), "/garage", "json-api")


def ask(endpoint: str, payload: object) -> Any:
    """Return Garage's answer, None where it knows of no such thing. Any other refusal ends the step.

    `payload` is None for an endpoint that takes none.
    """
    arguments = (*COMMAND, endpoint) if payload is None else (*COMMAND, endpoint, "-")
    done = subprocess.run(
        arguments,
        input=None if payload is None else json.dumps(payload),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return json.loads(done.stdout)
    # Endpoints that look something up answer with an error code such as NoSuchBucket or NoSuchAccessKey (404).
    if "(404" in done.stderr:
        return None
    sys.exit(f"Garage refused {endpoint}: {done.stderr.strip()}")


def set_up_layout(capacity_bytes: int) -> None:
    """Make sure the one node has a role with this capacity: without a layout Garage stores nothing."""
    nodes = ask("GetClusterStatus", None)["nodes"]
    if len(nodes) != 1:
        sys.exit(f"expected a cluster of one node, found {len(nodes)}: this stack runs a single Garage")
    node = nodes[0]["id"]
    layout = ask("GetClusterLayout", None)
    if any(role["id"] == node and role["capacity"] == capacity_bytes for role in layout["roles"]):
        return
    role = {"id": node, "zone": "dc1", "capacity": capacity_bytes, "tags": []}
    ask("UpdateClusterLayout", {"roles": [role]})
    ask("ApplyClusterLayout", {"version": layout["version"] + 1})
    print(f"layout: {capacity_bytes} bytes on {node[:16]}")


def set_up_key(access_key_id: str, secret_access_key: str) -> None:
    """Make sure of the access key."""
    known = ask("GetKeyInfo", {"id": access_key_id, "search": None, "showSecretKey": True})
    if known is None:
        ask("ImportKey", {"accessKeyId": access_key_id, "secretAccessKey": secret_access_key, "name": "reflector"})
        print(f"key: imported {access_key_id}")
    elif known["secretAccessKey"] != secret_access_key:
        sys.exit(f"Garage has another secret for the access key {access_key_id}: this volume belongs to another stack")


def set_up_bucket(name: str, access_key_id: str, origins: list[str]) -> None:
    """Make sure of the bucket, of the key's rights to it, and that browsers at `origins` may use presigned URLs."""
    bucket = ask("GetBucketInfo", {"id": None, "globalAlias": name, "search": None})
    if bucket is None:
        bucket = ask("CreateBucket", {"globalAlias": name, "localAlias": None})
        print("bucket: created")
    rights = {key["accessKeyId"]: key["permissions"] for key in bucket["keys"]}.get(access_key_id, {})
    if not (rights.get("read") and rights.get("write")):
        permissions = {"read": True, "write": True, "owner": False}
        ask("AllowBucketKey", {"bucketId": bucket["id"], "accessKeyId": access_key_id, "permissions": permissions})
        print(f"bucket: {access_key_id} may read and write it")
    rules = [
        {
            "AllowedOrigin": origins,
            "AllowedMethod": ["GET", "HEAD", "PUT"],
            "AllowedHeader": ["*"],
            "ExposeHeader": ["ETag"],
            "MaxAgeSeconds": 3600,
        }
    ]
    # Set each time: it is cheap, and Garage answers rules back in a form of its own.
    body = {"websiteAccess": None, "quotas": None, "corsRules": rules, "lifecycleRules": None}
    ask("UpdateBucket", {"id": bucket["id"], "body": body})


def main() -> None:
    """Bring Garage to the state on standard input."""
    desired = json.load(sys.stdin)
    set_up_layout(desired["capacity_bytes"])
    set_up_key(desired["access_key_id"], desired["secret_access_key"])
    set_up_bucket(desired["bucket"], desired["access_key_id"], desired["origins"])


if __name__ == "__main__":
    main()
