"""Files as one text, the same each time."""

import base64
import io
import tarfile

from rendering.archive import archive


def test_the_same_files_always_give_the_same_archive() -> None:
    assert archive({"a": "1", "b": "2"}) == archive({"b": "2", "a": "1"})


def test_an_archive_holds_its_files_for_their_owner_alone() -> None:
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(archive({"b": "zwei", "a": "größer"})))) as tar:
        entries = tar.getmembers()
        contents = [stream.read().decode() for entry in entries if (stream := tar.extractfile(entry)) is not None]
    assert [(entry.name, entry.mode, entry.mtime, entry.uid, entry.gid) for entry in entries] == [
        ("a", 0o600, 0, 0, 0),
        ("b", 0o600, 0, 0, 0),
    ]
    assert contents == ["größer", "zwei"]
