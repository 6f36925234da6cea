"""Garage's configuration and the payloads of its admin API."""

import json
from typing import Final

META_DIRECTORY: Final = "/var/lib/garage/meta"
DATA_DIRECTORY: Final = "/var/lib/garage/data"
CONFIG_FILE: Final = "/etc/garage.toml"
RPC_SECRET_FILE: Final = "/etc/garage/rpc_secret"
ADMIN_TOKEN_FILE: Final = "/etc/garage/admin_token"
S3_PORT: Final = 3900
RPC_PORT: Final = 3901
ADMIN_PORT: Final = 3903
REGION: Final = "garage"


def config() -> str:
    """Return garage.toml for a single node; secrets stay in files of their own."""
    return f"""metadata_dir = "{META_DIRECTORY}"
data_dir = "{DATA_DIRECTORY}"
db_engine = "lmdb"
replication_factor = 1

# One copy of everything: an unclean stop must not cost any of it.
metadata_fsync = true
data_fsync = true
metadata_auto_snapshot_interval = "6h"

rpc_bind_addr = "[::]:{RPC_PORT}"
rpc_public_addr = "127.0.0.1:{RPC_PORT}"
rpc_secret_file = "{RPC_SECRET_FILE}"

[s3_api]
api_bind_addr = "[::]:{S3_PORT}"
s3_region = "{REGION}"
root_domain = ".s3.garage.localhost"

[admin]
api_bind_addr = "[::]:{ADMIN_PORT}"
admin_token_file = "{ADMIN_TOKEN_FILE}"
# Without a token of their own the metrics would be open to every container on the network.
metrics_require_token = true
"""


def desired_state(
    *, capacity_gib: int, bucket: str, origins: list[str], access_key_id: str, secret_access_key: str
) -> str:
    """Return the input of `components/storage/garage_setup.py`."""
    return json.dumps(
        {
            "access_key_id": access_key_id,
            "bucket": bucket,
            "capacity_bytes": capacity_gib * 1024**3,
            "origins": origins,
            "secret_access_key": secret_access_key,
        }
    )
