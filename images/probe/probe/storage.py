"""Objects in S3, with the client settings of Reflector's AwsStorage."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from probe.environment import Storage

PRESIGNED_SECONDS = 3600
"""Life of a presigned URL: Reflector's default."""

SOCKET_SECONDS = 7
"""Longest silence of the store before a call fails, below the time a check has."""

_making_client = threading.Lock()


@cache
def _client(settings: Storage) -> Any:
    """The one client of a store: it costs a third of a second of CPU and 20 MB, so checks share it."""
    # Imported here for the same reason: only a process that stores something pays for it. botocore ships no type
    # information; everything that crosses this module's border is typed here.
    import botocore.session  # type: ignore[import-untyped]  # see above
    from botocore.config import Config  # type: ignore[import-untyped]  # see above

    options: dict[str, Any] = {"retries": {"max_attempts": 3, "mode": "adaptive"}}
    if settings.endpoint_url is not None:
        options["s3"] = {"addressing_style": "path"}
    return botocore.session.get_session().create_client(
        "s3",
        region_name=settings.region,
        endpoint_url=settings.endpoint_url,
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key,
        config=Config(connect_timeout=SOCKET_SECONDS, read_timeout=SOCKET_SECONDS, **options),
    )


class ObjectStorage:
    """Put, get, delete and presign; calls run in a thread, botocore is synchronous."""

    def __init__(self, settings: Storage) -> None:
        """Keep the settings; the client is made at first use."""
        self.settings = settings

    async def warm(self) -> None:
        """Make the client now, so that its cost is not taken for the store's."""
        await asyncio.to_thread(lambda: self._client)

    @property
    def _client(self) -> Any:
        # Threads that ask at the same time wait for the first one instead of making a client each.
        with _making_client:
            return _client(self.settings)

    def _where(self, key: str) -> dict[str, str]:
        prefix = self.settings.prefix
        return {"Bucket": self.settings.bucket, "Key": f"{prefix}/{key}" if prefix else key}

    async def put(self, key: str, data: bytes) -> None:
        """Store an object."""
        await asyncio.to_thread(lambda: self._client.put_object(Body=data, **self._where(key)))

    async def get(self, key: str) -> bytes:
        """Fetch an object."""
        return await asyncio.to_thread(lambda: bytes(self._client.get_object(**self._where(key))["Body"].read()))

    async def delete(self, key: str) -> None:
        """Delete an object; one that is not there counts as deleted."""
        await asyncio.to_thread(lambda: self._client.delete_object(**self._where(key)))

    async def presign(self, key: str, operation: str = "get_object") -> str:
        """A URL that grants one operation on one object for PRESIGNED_SECONDS."""
        return await asyncio.to_thread(
            lambda: str(
                self._client.generate_presigned_url(operation, Params=self._where(key), ExpiresIn=PRESIGNED_SECONDS)
            )
        )

    @asynccontextmanager
    async def temporary(self, key: str, data: bytes | None = None) -> AsyncIterator[str]:
        """Use a key, stored first when data is given; it is deleted afterwards whatever happens in between."""
        if data is not None:
            await self.put(key, data)
        try:
            yield key
        finally:
            await self.delete(key)
