"""Brings a running Garage to a desired state. Runs as a step beside the engine, not inside the program.

Reads the desired state as JSON on standard input and asks Garage through `docker exec -i $CONTAINER /garage json-api`,
which takes its payload on standard input, so no secret is ever an argument. Garage's image has no shell to do this in.
Run again it changes nothing. Standard library only; its text is the step's script.
"""

import json
import os
import re
import subprocess
import sys
from typing import Any, Final

COMMAND: Final = ("docker", "exec", "--interactive", os.environ.get("CONTAINER", ""), "/garage", "json-api")
KEY_NAME: Final = "reflector"
"""Of the key this makes, and of those made before it, by a state that is lost or for a store that was switched off."""
UNFINISHED_DAYS: Final = 7
"""How long parts of an upload that never ended are kept: no listing shows them, and one that is alive takes hours."""


def ask(endpoint: str, payload: object, absent: str = "") -> Any:
    """Return Garage's answer. Any refusal ends the step, but the error code `absent` of a look-up: that gives None.

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
    # In the words of Garage 2: "Error: NoSuchAccessKey (404): Access key not found: GK…", below its log.
    if absent and re.search(rf"^Error: {absent} \(", done.stderr, re.MULTILINE):
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
    known = ask("GetKeyInfo", {"id": access_key_id, "search": None, "showSecretKey": True}, "NoSuchAccessKey")
    if known is None:
        ask("ImportKey", {"accessKeyId": access_key_id, "secretAccessKey": secret_access_key, "name": KEY_NAME})
        print(f"key: imported {access_key_id}")
    elif known["secretAccessKey"] != secret_access_key:
        sys.exit(f"Garage has another secret for the access key {access_key_id}: this volume belongs to another stack")


def revoke(access_key_id: str, bucket_id: str) -> None:
    """Take all rights to a bucket from a key.

    The key itself stays: one that was deleted can never be made again, and its state may come back from a backup.
    """
    permissions = {"read": True, "write": True, "owner": True}
    ask("DenyBucketKey", {"bucketId": bucket_id, "accessKeyId": access_key_id, "permissions": permissions})
    print(f"key: revoked {access_key_id}")


def revoke_former_keys(access_key_id: str, bucket: Any) -> None:
    """Leave the rights to the bucket to our key alone, and none anywhere to the keys that were ours before it."""
    for key in bucket["keys"]:
        if key["accessKeyId"] != access_key_id and any(key["permissions"].values()):
            revoke(key["accessKeyId"], bucket["id"])
    for key in ask("ListKeys", {}):
        if key["name"] == KEY_NAME and key["id"] != access_key_id:
            known = ask("GetKeyInfo", {"id": key["id"], "search": None, "showSecretKey": False})
            for other in known["buckets"]:
                # Those to our own bucket are gone by now.
                if other["id"] != bucket["id"] and any(other["permissions"].values()):
                    revoke(key["id"], other["id"])


def set_up_bucket(name: str, access_key_id: str, origins: list[str]) -> None:
    """Make sure of the bucket, that it is our key's and nobody else's, and that `origins` may use presigned URLs."""
    bucket = ask("GetBucketInfo", {"id": None, "globalAlias": name, "search": None}, "NoSuchBucket")
    if bucket is None:
        bucket = ask("CreateBucket", {"globalAlias": name, "localAlias": None})
        print("bucket: created")
    rights = {key["accessKeyId"]: key["permissions"] for key in bucket["keys"]}.get(access_key_id, {})
    if not (rights.get("read") and rights.get("write")):
        permissions = {"read": True, "write": True, "owner": False}
        ask("AllowBucketKey", {"bucketId": bucket["id"], "accessKeyId": access_key_id, "permissions": permissions})
        print(f"bucket: {access_key_id} may read and write it")
    revoke_former_keys(access_key_id, bucket)
    origin_rules = [
        {
            "AllowedOrigin": origins,
            "AllowedMethod": ["GET", "HEAD", "PUT"],
            "AllowedHeader": ["*"],
            # Without those of a range a player's script cannot seek.
            "ExposeHeader": ["ETag", "Accept-Ranges", "Content-Length", "Content-Range"],
            "MaxAgeSeconds": 3600,
        }
    ]
    unfinished = {"DaysAfterInitiation": UNFINISHED_DAYS}
    life_rules = [{"ID": "unfinished-uploads", "Status": "Enabled", "AbortIncompleteMultipartUpload": unfinished}]
    # Set each time: it is cheap, and Garage answers rules back in a form of its own.
    body = {"websiteAccess": None, "quotas": None, "corsRules": origin_rules, "lifecycleRules": life_rules}
    ask("UpdateBucket", {"id": bucket["id"], "body": body})


def main() -> None:
    """Bring Garage to the state on standard input."""
    desired = json.load(sys.stdin)
    set_up_layout(desired["capacity_bytes"])
    set_up_key(desired["access_key_id"], desired["secret_access_key"])
    set_up_bucket(desired["bucket"], desired["access_key_id"], desired["origins"])


if __name__ == "__main__":
    main()
