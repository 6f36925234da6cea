"""A client's certificate and key as files, which is all that `ssl` takes."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def client_files(key: str, chain: str) -> Iterator[tuple[Path, Path]]:
    """Give chain and key (PEM) as files in a folder of the user's alone, and gone after."""
    with tempfile.TemporaryDirectory() as folder:
        files = (Path(folder) / "tls.crt", Path(folder) / "tls.key")
        for path, content in zip(files, (chain, key), strict=True):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(content)
        yield files
