"""A bucket of AWS: private, kept, and open to one user for exactly what Reflector does there."""

import json

import pulumi

from components.base.handles import ObjectStore
from components.storage.s3 import S3, S3Args, bucket_policy
from testing import building
from testing.engine import is_secret, value_of

BUILT = building.built("S3")
STORE: ObjectStore = BUILT.component.store


def test_a_bucket_of_aws_is_private_and_kept() -> None:
    bucket, access = BUILT.named("it-bucket"), BUILT.named("it-public-access")
    assert not bucket.request.protect, "or the mode could not be switched off"
    assert bucket.request.retainOnDelete
    assert bucket.request.importId == ""
    for rule in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"):
        assert access.plain(rule) is True, rule


def test_a_bucket_that_is_there_already_is_taken_over_when_told_so() -> None:
    bucket = building.build(
        lambda near: S3("it", S3Args(bucket="media", origins=[], adopt=True), pulumi.ResourceOptions(parent=near.ready))
    ).named("it-bucket")
    assert bucket.request.importId == "media", "AWS makes no bucket a second time, and it holds the recordings"


def test_browsers_of_the_edge_alone_may_use_a_bucket_of_aws() -> None:
    (rule,) = BUILT.named("it-cors").plain("corsRules")
    assert rule["allowedOrigins"] == ["https://reflector.test"]


def test_the_user_of_a_bucket_may_do_what_reflector_does_there_and_no_more() -> None:
    statements = json.loads(bucket_policy("arn:aws:s3:::media"))["Statement"]
    allowed = {(action, statement["Resource"]) for statement in statements for action in statement["Action"]}
    assert allowed == {
        ("s3:ListBucket", "arn:aws:s3:::media"),
        ("s3:PutObject", "arn:aws:s3:::media/*"),
        ("s3:GetObject", "arn:aws:s3:::media/*"),
        ("s3:DeleteObject", "arn:aws:s3:::media/*"),
    }


def test_a_bucket_of_aws_is_handed_over_with_a_secret_key_and_no_endpoint() -> None:
    assert STORE.public_endpoint == "", "empty means AWS itself"
    assert value_of(STORE.region) == "eu-central-1"  # type: ignore[arg-type]  # an output here
    assert is_secret(STORE.secret_access_key)  # type: ignore[arg-type]  # an output here


def test_a_bucket_of_aws_is_ready_once_it_may_be_used() -> None:
    assert {value_of(resource.urn) for resource in STORE.ready} == {
        BUILT.named("it-policy").urn, BUILT.named("it-cors").urn,
    }  # fmt: skip


def test_nothing_of_a_bucket_of_aws_runs_here_or_is_served_here() -> None:
    assert (STORE.sites, STORE.services) == ((), ())
