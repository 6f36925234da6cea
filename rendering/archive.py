"""Files as one deterministic tar, in text form, so that they can travel through a command's standard input."""

import base64
import io
import tarfile
from collections.abc import Mapping


def archive(files: Mapping[str, str | bytes]) -> str:
    """Return the base64 text of a tar with `files` (path → content), each readable by its owner alone.

    The same files always give the same text: order, times, owners and modes are fixed.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(files):
            given = files[path]
            content = given.encode() if isinstance(given, str) else given
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            entry.mode = 0o600
            tar.addfile(entry, io.BytesIO(content))
    return base64.b64encode(buffer.getvalue()).decode()
