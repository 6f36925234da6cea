"""The start of PostgreSQL, run as it stands, with stand-ins for what the image holds."""

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from rendering.postgres import guarded
from testing.commands import fake_command, path_with

DEBIAN = "/usr/lib/postgresql/17/bin/postgres"
ALPINE = "/usr/local/bin/postgres"


@dataclass(frozen=True)
class Image:
    """An image's programs, and a volume."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self, version: str, program: str) -> "subprocess.CompletedProcess[str]":
        """Start a PostgreSQL of this version that is at this path."""
        programs = self.folder / "programs"
        fake_command(programs, "postgres", {"--version": f"postgres (PostgreSQL) {version}\n"})
        fake_command(programs, "docker-entrypoint.sh", {"postgres -c x=1": "started"})
        fake_command(programs, "readlink", {"-f": f"{program}\n"})
        return subprocess.run(
            guarded(["postgres", "-c", "x=1"]),
            env={"PATH": path_with(programs), "PGDATA": str(self.data)},
            capture_output=True,
            text=True,
            check=False,
        )

    def volume(self, version: str = "17", program: str = "") -> None:
        """Put data of this version into the volume, last served by this program."""
        self.data.mkdir()
        (self.data / "PG_VERSION").write_text(f"{version}\n")
        if program:
            (self.data / "postmaster.opts").write_text(f'{program} "-c" "x=1"\n')


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """An image and a volume that has not been made."""
    return Image(tmp_path)


@pytest.mark.parametrize("version", ["17.11", "17.11 (Debian 17.11-1.pgdg120+1)", "18beta1"])
def test_an_empty_volume_is_the_entrypoints(image: Image, version: str) -> None:
    assert image.start(version, ALPINE).stdout == "started"
    image.data.mkdir()
    assert image.start(version, ALPINE).stdout == "started"


@pytest.mark.parametrize(
    ("was", "now"), [("", ALPINE), (ALPINE, ALPINE), (DEBIAN, DEBIAN), ("/opt/postgres", ALPINE), (ALPINE, "/opt/p")]
)
def test_the_same_version_starts(image: Image, was: str, now: str) -> None:
    image.volume(program=was)
    done = image.start("17.12", now)
    assert (done.returncode, done.stdout) == (0, "started"), done.stderr


@pytest.mark.parametrize(
    ("made", "version", "ours"), [("16", "17.11", "17"), ("17", "18.1", "18"), ("17", "16.9", "16")]
)
def test_another_major_version_is_refused(image: Image, made: str, version: str, ours: str) -> None:
    image.volume(made, ALPINE)
    done = image.start(version, ALPINE)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"its data are of version {made}, and this image is version {ours}." in done.stderr
    assert "Set the image back" in done.stderr


@pytest.mark.parametrize(("was", "now"), [(ALPINE, DEBIAN), (DEBIAN, ALPINE)])
def test_another_family_is_refused(image: Image, was: str, now: str) -> None:
    image.volume(program=was)
    done = image.start("17.11", now)
    assert (done.returncode, done.stdout) == (1, "")
    assert "sorts otherwise" in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start somebody else")
def test_a_volume_of_another_user_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:
        # pytest's own folders are closed to others further up.
        Path(folder).chmod(0o755)
        data = Path(folder) / "data"
        data.mkdir(mode=0o700)
        done = subprocess.run(
            guarded(["postgres"]), env={"PATH": os.environ["PATH"], "PGDATA": str(data)}, user=12345, group=12345,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert f"{data} belongs to user 0, and this container runs as 12345" in done.stderr
