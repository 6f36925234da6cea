"""A bucket in AWS, with a user that may use it and nothing else.

The only component that imports pulumi_aws, and only imported where storage is in mode s3.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.base.handles import ObjectStore


@dataclass(frozen=True, kw_only=True)
class S3Args:
    """A bucket, in the region of the provider."""

    bucket: str
    origins: Sequence[str]
    """Web origins whose pages may use presigned URLs."""
    adopt: bool = False
    """Whether the bucket is there already, left by a stack or a mode that is no more."""


class S3(pulumi.ComponentResource):
    """A private bucket, with an access key for exactly what Reflector does there.

    Creates: the bucket, kept even when it leaves the program. Credentials of AWS come from the
    environment of whoever runs the program, as with any AWS tool.
    """

    store: ObjectStore
    """The bucket and the key."""

    def __init__(self, name: str, args: S3Args, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:s3:S3", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        bucket = aws.s3.Bucket(
            f"{name}-bucket",
            aws.s3.BucketArgs(bucket=args.bucket),
            opts=pulumi.ResourceOptions(
                parent=self, retain_on_delete=True, import_=args.bucket if args.adopt else None
            ),
        )
        aws.s3.BucketPublicAccessBlock(
            f"{name}-public-access",
            aws.s3.BucketPublicAccessBlockArgs(
                bucket=bucket.bucket,
                block_public_acls=True,
                block_public_policy=True,
                ignore_public_acls=True,
                restrict_public_buckets=True,
            ),
            opts=child,
        )
        cors = aws.s3.BucketCorsConfiguration(
            f"{name}-cors",
            aws.s3.BucketCorsConfigurationArgs(
                bucket=bucket.bucket,
                cors_rules=[
                    aws.s3.BucketCorsConfigurationCorsRuleArgs(
                        allowed_origins=list(args.origins),
                        allowed_methods=["GET", "HEAD", "PUT"],
                        allowed_headers=["*"],
                        # Without those of a range a player's script cannot seek.
                        expose_headers=["ETag", "Accept-Ranges", "Content-Length", "Content-Range"],
                        max_age_seconds=3600,
                    )
                ],
            ),
            opts=child,
        )
        aws.s3.BucketLifecycleConfiguration(
            f"{name}-unfinished-uploads",
            aws.s3.BucketLifecycleConfigurationArgs(
                bucket=bucket.bucket,
                rules=[
                    aws.s3.BucketLifecycleConfigurationRuleArgs(
                        id="unfinished-uploads",
                        status="Enabled",
                        # Every key.
                        filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
                        # No listing shows them, and they are paid for; a live upload takes hours at the most.
                        abort_incomplete_multipart_upload=(
                            aws.s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
                                days_after_initiation=7
                            )
                        ),
                    )
                ],
            ),
            opts=child,
        )
        user = aws.iam.User(f"{name}-user", aws.iam.UserArgs(name=args.bucket), opts=child)
        policy = aws.iam.UserPolicy(
            f"{name}-policy",
            aws.iam.UserPolicyArgs(user=user.name, policy=bucket.arn.apply(bucket_policy)),
            opts=child,
        )
        key = aws.iam.AccessKey(f"{name}-key", aws.iam.AccessKeyArgs(user=user.name), opts=child)
        self.store = ObjectStore(
            public_endpoint="",
            region=bucket.region,
            bucket=bucket.bucket,
            access_key_id=key.id,
            secret_access_key=key.secret,
            ready=[policy, cors],
        )
        self.register_outputs({})


def bucket_policy(bucket_arn: str) -> str:
    """Return the IAM policy for what Reflector does with its bucket: put, get, delete and list."""
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": bucket_arn},
                {
                    "Effect": "Allow",
                    "Action": ["s3:PutObject", "s3:GetObject", "s3:DeleteObject"],
                    "Resource": f"{bucket_arn}/*",
                },
            ],
        }
    )
