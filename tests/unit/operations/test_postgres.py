"""PostgreSQL's data and the image the settings name: refused before anything is replaced, asked only if it changed."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from components.base.daemon import Daemon
from operations import checks, postgres
from operations.healing import IMAGE_TYPE
from operations.postgres import ALPINE, DEBIAN, Kind
from operations.stack import Stack
from settings import Settings, parse
from testing.commands import fake_command, path_with
from tests.unit.operations.stand_ins import INFO, VERSION, asked, with_file, with_state

OFFICIAL_ALPINE: Final = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/bin", "PG_MAJOR=17", "PG_VERSION=17.11"]
OFFICIAL_DEBIAN: Final = ["PATH=/usr/local/bin:/usr/bin:/usr/lib/postgresql/17/bin", "PG_MAJOR=17"]
SEVENTEEN: Final = '17\n/usr/local/bin/postgres "-c" "max_connections=200"\n'
IN_USE: Final = ("postgres:17.11-alpine", "sha256:inuse")


def settings_with(reference: str | None = None) -> Settings:
    """Return settings with another image."""
    images: dict[str, Any] = {"mode": "upstream"}
    if reference is not None:
        images["references"] = {"postgres": reference}
    return parse({"images": images}, "test", "reflector")


@pytest.mark.parametrize(
    ("variables", "kind"),
    [
        (OFFICIAL_ALPINE, Kind(version="17", family=ALPINE)),
        (OFFICIAL_DEBIAN, Kind(version="17", family=DEBIAN)),
        (["PATH=/usr/lib/postgresql/15/bin:/usr/bin"], Kind(version="15", family=DEBIAN)),
        (["PATH=/usr/bin"], Kind()),
        ([], Kind()),
    ],
)
def test_an_image_tells_what_it_is(variables: list[str], kind: Kind) -> None:
    assert postgres.kind_of_environment(variables) == kind


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ("postgres:17.11-alpine3.22", Kind(version="17", family=ALPINE)),
        (f"postgres:17-alpine@sha256:{'0' * 64}", Kind(version="17", family=ALPINE)),
        ("registry.test:5000/library/postgres:18.1-bookworm", Kind(version="18", family=DEBIAN)),
        ("postgres:18", Kind(version="18", family=DEBIAN)),
        ("postgres:19beta1", Kind(version="19", family=DEBIAN)),
        (f"postgres@sha256:{'0' * 64}", Kind()),
        ("registry.test:5000/own/database:12.0", Kind()),
        ("reflector-test-postgres:4ea94543d87f", Kind()),
        ("postgres:4ea94543d87f", Kind()),
    ],
)
def test_a_reference_tells_what_it_is_where_it_is_the_official_name(reference: str, kind: Kind) -> None:
    assert postgres.kind_of_reference(reference) == kind


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (SEVENTEEN, Kind(version="17", family=ALPINE)),
        ('15\n/usr/lib/postgresql/15/bin/postgres "-c" "x=1"\n', Kind(version="15", family=DEBIAN)),
        ("17\n", Kind(version="17")),
        ("17\n/opt/postgres\n", Kind(version="17")),
    ],
)
def test_a_volume_tells_who_made_it(files: str, kind: Kind) -> None:
    assert postgres.kind_of_volume(files) == kind


Daemons = Callable[..., Path]


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Daemons:
    """Puts a `docker` on PATH with this volume and this image, and returns the log of its calls."""

    def install(files: str = SEVENTEEN, image: list[str] | None = None) -> Path:
        monkeypatch.setenv("PATH", path_with(tmp_path / "path"))
        answers: Mapping[str, Any] = {
            "info": json.dumps(dict(INFO)),
            "version": json.dumps(dict(VERSION)),
            "ps": "",
            "volume ls --filter": "",
            "volume ls --quiet": "reflector-test-postgres\n" if files else "",
            "run": files,
            "image inspect": {"status": 1, "stderr": "Error: No such image"} if image is None else json.dumps(image),
        }
        return fake_command(tmp_path / "path", "docker", answers)

    return install


def found(settings: Settings, image_in_use: tuple[str, str] | None = IN_USE) -> list[str]:
    """Return what is said about the settings."""
    address = Daemon(address="unix:///var/run/docker.sock")
    return [str(problem.given) for problem in postgres.problems(settings, address, image_in_use)]


@pytest.mark.parametrize(
    ("reference", "image", "given"),
    [
        ("postgres:18.1-alpine", None, "which is PostgreSQL 18 of Alpine, for data made by PostgreSQL 17 of Alpine"),
        ("postgres:17.11-bookworm", None, "which is PostgreSQL 17 of Debian, for data made by PostgreSQL 17 of Alpine"),
        ("postgres:16.9-alpine", None, "which is PostgreSQL 16 of Alpine"),
        # What is on the host tells itself, whatever it is called.
        ("own.test/database:1.0.0", OFFICIAL_DEBIAN, "which is PostgreSQL 17 of Debian"),
    ],
)
def test_another_kind_of_postgres_is_refused(
    daemon: Daemons, reference: str, image: list[str] | None, given: str
) -> None:
    daemon(image=image)
    (said,) = found(settings_with(reference))
    assert said.startswith(reference)
    assert given in said


@pytest.mark.parametrize(
    ("reference", "image"),
    [
        ("postgres:17.12-alpine3.23", None),
        ("own.test/database:1.0.0", OFFICIAL_ALPINE),
        # Nothing can be told before it is pulled: the container looks itself.
        ("own.test/database:1.0.0", None),
    ],
)
def test_another_release_of_the_same_kind_is_taken(daemon: Daemons, reference: str, image: list[str] | None) -> None:
    daemon(image=image)
    assert found(settings_with(reference)) == []


def test_without_data_any_image_is_taken(daemon: Daemons) -> None:
    log = daemon(files="")
    assert found(settings_with("postgres:18.1")) == []
    assert not [call for call in asked(log) if call.startswith("run ")], "Docker would make the volume"


def test_nobody_is_asked_while_the_image_is_the_one_in_use(daemon: Daemons) -> None:
    log = daemon()
    same = settings_with("postgres:17.11-alpine")
    assert found(same) == []
    assert found(same, None) == []
    assert asked(log) == []


def test_a_volume_is_read_in_the_image_that_served_it_and_nothing_is_written(daemon: Daemons) -> None:
    log = daemon()
    found(settings_with("postgres:18.1-alpine"))
    (call,) = (call for call in asked(log) if call.startswith("run "))
    for words in ("--rm", "--network none", "reflector-test-postgres:/data:ro", "sha256:inuse"):
        assert words in call


def test_the_check_of_a_stack_looks_at_its_database(stack: Stack, daemon: Daemons) -> None:
    daemon()
    with_file(stack, {"images": {"mode": "upstream", "references": {"postgres": "postgres:18.1-alpine"}}})
    outputs = {"name": IN_USE[0], "imageId": IN_USE[1]}
    with_state(stack, resources=[{"urn": "urn::images-postgres", "type": IMAGE_TYPE, "outputs": outputs}])
    (problem,) = (one for one in checks.check(stack).problems if one.setting == "images.references.postgres")
    assert "PostgreSQL 18 of Alpine, for data made by PostgreSQL 17 of Alpine" in problem.given
    assert "docs/deploy.md" in problem.remedy
