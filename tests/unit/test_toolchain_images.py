"""The development images: staging, recipes, Dockerfiles and entry points."""

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from toolchain import images, recipes, system
from toolchain.layout import ROOT, ToolchainError
from toolchain.pins import Pins
from toolchain.progress import Progress

ELF_MACHINE = {"x86_64": 62, "aarch64": 183}[platform.machine()]


def program(*symbols: str, machine: int = ELF_MACHINE) -> bytes:
    """Return what the checks see of a Linux program that needs these versions of library symbols."""
    header = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9) + b"\x02\x00" + machine.to_bytes(2, "little") + bytes(44)
    return header + b"\0".join([b"", *(symbol.encode() for symbol in symbols), b""])


def put(path: Path, content: bytes | str, mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


class Bench:
    """A small checkout of images and a set of parts, to stage from."""

    def __init__(self, root: Path) -> None:
        self.sources = root / "images"
        self.out = root / "staged"
        self.cache = root / "parts"
        for name, image in images.IMAGES.items():
            put(self.sources / name / "Dockerfile", f"# {name}\nFROM {image.base or 'scratch'}\n")
        put(self.sources / "postgres" / "docker-entrypoint.sh", "#!/bin/sh\n", 0o755)
        put(self.sources / "probe" / "probe" / "__init__.py", "")
        put(self.sources / "probe" / "probe" / "__pycache__" / "__init__.cpython-311.pyc", b"\0")
        for name, content in (("base", "B"), ("postgres", "P"), ("redis", "R")):
            put(self.cache / "rootfs" / f"{name}.tar", content)
        for name in ("caddy", "garage", "ollama"):
            put(self.cache / name / name, program("GLIBC_2.34", "GLIBC_2.2.5"), 0o755)
        put(self.cache / "model" / "model.gguf", "GGUF")
        put(self.cache / "probe" / "site-packages" / "starlette" / "__init__.py", "x = 1\n")
        self.parts: dict[str, dict[str, Path | str]] = {
            name: {product: self.cache / name / product for product in recipe.products}
            for name, recipe in recipes.RECIPES.items()
        }

    def stage(self) -> images.Manifest:
        return images.stage(self.parts, self.out, sources=self.sources)

    def hashes(self) -> dict[str, str | None]:
        return {name: entry["sha256"] for name, entry in self.stage().items()}

    def tree(self, name: str) -> dict[str, int]:
        folder = self.out / name
        return {
            str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()
        }


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# --- Staging ----------------------------------------------------------------------------------------------------------


def test_every_context_is_whole_and_described(bench: Bench) -> None:
    manifest = bench.stage()

    assert json.loads((bench.out / "manifest.json").read_text()) == manifest
    assert list(manifest) == ["base", "postgres", "redis", "garage", "caddy", "ollama", "probe"]
    for name, entry in manifest.items():
        assert set(entry) == {"context", "base", "sha256"}
        assert entry["context"] == name
        assert entry["base"] == (None if name == "base" else "base")
        assert re.fullmatch("[0-9a-f]{64}", entry["sha256"] or "")
    assert bench.tree("postgres") == {"Dockerfile": 0o644, "postgres.tar": 0o644, "docker-entrypoint.sh": 0o755}
    assert bench.tree("garage") == {"Dockerfile": 0o644, "garage": 0o755}
    assert bench.tree("ollama") == {"Dockerfile": 0o644, "root/usr/bin/ollama": 0o755, "models/tiny/model.gguf": 0o644}
    assert bench.tree("probe") == {
        "Dockerfile": 0o644,
        "probe/__init__.py": 0o644,
        "site-packages/starlette/__init__.py": 0o644,
    }


def test_staging_again_touches_nothing(bench: Bench) -> None:
    bench.stage()
    before = {
        path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in bench.out.rglob("*") if path.name != ".lock"
    }

    bench.stage()

    after = {
        path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in bench.out.rglob("*") if path.name != ".lock"
    }
    assert after == before


def _change_content(bench: Bench) -> None:
    put(bench.sources / "redis" / "Dockerfile", "FROM other\n")


def _change_mode(bench: Bench) -> None:
    (bench.sources / "redis" / "Dockerfile").chmod(0o755)


def _add_file(bench: Bench) -> None:
    put(bench.sources / "redis" / "more", "")


def _rename_file(bench: Bench) -> None:
    (bench.sources / "redis" / "Dockerfile").replace(bench.sources / "redis" / "other")
    put(bench.sources / "redis" / "Dockerfile", "")


def _change_part(bench: Bench) -> None:
    put(bench.cache / "rootfs" / "redis.tar", "r")


@pytest.mark.parametrize("change", [_change_content, _change_mode, _add_file, _rename_file, _change_part])
def test_a_change_of_one_image_renames_only_that_image(bench: Bench, change: Callable[[Bench], None]) -> None:
    before = bench.hashes()

    change(bench)
    after = bench.hashes()

    assert {name for name in after if after[name] != before[name]} == {"redis"}
    assert set(bench.tree("redis")) == {
        *(path.name for path in (bench.sources / "redis").iterdir()),
        "redis.tar",
    }


def test_a_change_of_the_base_renames_everything_built_on_it(bench: Bench) -> None:
    before = bench.hashes()

    put(bench.cache / "rootfs" / "base.tar", "another base")
    after = bench.hashes()

    assert all(after[name] != before[name] for name in after)


def test_hashes_do_not_depend_on_where_or_when_things_were_made(tmp_path: Path) -> None:
    first, second = Bench(tmp_path / "a"), Bench(tmp_path / "b" / "c")
    for path in second.cache.rglob("*"):
        os.utime(path, (1, 1))

    assert first.hashes() == second.hashes()


def test_a_file_that_left_the_sources_leaves_the_context(bench: Bench) -> None:
    extra = put(bench.sources / "caddy" / "extra", "x")
    bench.stage()
    assert (bench.out / "caddy" / "extra").exists()

    extra.unlink()
    bench.stage()

    assert not (bench.out / "caddy" / "extra").exists()


@pytest.mark.parametrize("damage", ["missing", "cut", "extra", "mode"])
def test_a_damaged_context_is_staged_again(bench: Bench, damage: str) -> None:
    bench.stage()
    file = bench.out / "redis" / "Dockerfile"
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_text("")
    elif damage == "extra":
        put(bench.out / "redis" / "stray", "")
    else:
        file.chmod(0o600)

    bench.stage()

    assert bench.tree("redis") == {"Dockerfile": 0o644, "redis.tar": 0o644}
    assert file.read_text() == (bench.sources / "redis" / "Dockerfile").read_text()


def test_what_an_interrupted_run_left_is_removed(bench: Bench) -> None:
    put(bench.out / ".redis.new" / "half", "x")
    put(bench.out / ".redis.old" / "Dockerfile", "x")

    bench.stage()

    assert not (bench.out / ".redis.new").exists()
    assert not (bench.out / ".redis.old").exists()
    assert "half" not in bench.tree("redis")


def test_modes_do_not_depend_on_the_umask(bench: Bench) -> None:
    expected = bench.hashes()
    shutil.rmtree(bench.out)
    for path in bench.cache.rglob("*.py"):
        path.chmod(0o600)

    previous = os.umask(0o077)
    try:
        assert bench.hashes() == expected
    finally:
        os.umask(previous)

    assert bench.tree("probe")["site-packages/starlette/__init__.py"] == 0o644
    folders = [path for path in (bench.out / "probe").rglob("*") if path.is_dir()]
    assert folders
    assert all(path.stat().st_mode & 0o777 == 0o755 for path in folders)


def test_changing_a_staged_source_changes_no_checkout_file(bench: Bench) -> None:
    bench.stage()

    staged = bench.out / "redis" / "Dockerfile"

    assert staged.stat().st_ino != (bench.sources / "redis" / "Dockerfile").stat().st_ino


def test_libraries_beside_an_official_ollama_come_along(bench: Bench) -> None:
    library = put(bench.cache / "ollama" / "lib" / "ollama" / "libggml-cpu-haswell.so", program())
    before = bench.hashes()
    bench.parts["ollama"] = {**bench.parts["ollama"], "lib/ollama/libggml-cpu-haswell.so": str(library)}

    after = bench.hashes()

    assert bench.tree("ollama")["root/usr/lib/ollama/libggml-cpu-haswell.so"] == 0o755
    assert after["ollama"] != before["ollama"]


def test_a_part_that_is_not_given_is_named(bench: Bench) -> None:
    del bench.parts["garage"]

    with pytest.raises(ToolchainError, match="image garage needs garage of the part garage; given are caddy, model"):
        bench.stage()


def test_a_part_whose_file_is_gone_is_named(bench: Bench) -> None:
    (bench.cache / "model" / "model.gguf").unlink()

    with pytest.raises(ToolchainError, match=r"image ollama needs .*model\.gguf, which is not there"):
        bench.stage()


def test_a_failed_staging_leaves_the_manifest_as_it_was(bench: Bench) -> None:
    before = bench.stage()
    put(bench.sources / "base" / "Dockerfile", "FROM scratch\n# changed\n")
    del bench.parts["probe"]

    with pytest.raises(ToolchainError, match="image probe"):
        bench.stage()

    assert json.loads((bench.out / "manifest.json").read_text()) == before


# --- Programs that must run in an image -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "symbols", [(), ("GLIBC_2.36", "GLIBC_2.2.5"), ("GLIBCXX_3.4.30",), ("GLIBC_PRIVATE", "XGLIBC_9.9")]
)
def test_programs_for_debian_12_are_accepted(tmp_path: Path, symbols: tuple[str, ...]) -> None:
    images.check_program(put(tmp_path / "garage", program(*symbols)))


@pytest.mark.parametrize(
    ("symbol", "message"),
    [
        ("GLIBC_2.38", r"needs GLIBC 2\.38, but the images bring 2\.36"),
        ("GLIBC_3.0", r"needs GLIBC 3\.0,"),
        ("GLIBCXX_3.4.32", r"needs GLIBCXX 3\.4\.32, but the images bring 3\.4\.30"),
    ],
)
def test_a_program_linked_on_a_newer_system_is_refused(tmp_path: Path, symbol: str, message: str) -> None:
    with pytest.raises(ToolchainError, match=message):
        images.check_program(put(tmp_path / "garage", program("GLIBC_2.2.5", symbol)))


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\xcf\xfa\xed\xfe" + bytes(60), program(machine=8)])
def test_a_program_for_another_system_is_refused(bench: Bench, content: bytes) -> None:
    put(bench.cache / "garage" / "garage", content, 0o755)

    with pytest.raises(ToolchainError, match=f"is not a Linux program for {platform.machine()}"):
        bench.stage()


def test_a_real_program_of_this_machine_is_read(tmp_path: Path) -> None:
    """The hand-made headers above are like real ones."""
    content = Path("/bin/sh").resolve().read_bytes()
    needed = max(tuple(map(int, found.split(b"."))) for found in re.findall(rb"\0GLIBC_(\d+\.\d+)(?=\0)", content))

    if needed <= (2, 36):
        images.check_program(put(tmp_path / "sh", content))
    else:
        with pytest.raises(ToolchainError, match="needs GLIBC"):
            images.check_program(put(tmp_path / "sh", content))


# --- The Dockerfiles --------------------------------------------------------------------------------------------------


def instructions(name: str) -> list[tuple[str, str]]:
    text = (ROOT / "images" / name / "Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("name", images.IMAGES)
def test_a_dockerfile_is_built_on_its_base_and_nothing_else(name: str) -> None:
    given = instructions(name)

    if images.IMAGES[name].base is None:
        assert given[0] == ("FROM", "scratch")
    else:
        assert given[:2] == [("ARG", "BASE"), ("FROM", "${BASE}")]
    assert [word for word, _ in given].count("FROM") == 1


@pytest.mark.parametrize("name", images.IMAGES)
def test_a_dockerfile_needs_neither_network_nor_buildkit(name: str) -> None:
    text = (ROOT / "images" / name / "Dockerfile").read_text()

    assert not text.startswith("# syntax"), "a frontend would be pulled from a registry"
    for word, rest in instructions(name):
        assert word in {"ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "RUN", "STOPSIGNAL", "USER",
                        "VOLUME", "WORKDIR"}  # fmt: skip
        if word in {"ADD", "COPY", "RUN"}:
            assert not rest.startswith("--"), f"the classic builder does not know {rest.split()[0]}"
            assert "<<" not in rest
        if word == "RUN":
            assert not re.search(r"\b(apt|apt-get|pip|curl|wget|git)\b", re.sub(r"for name in [^;]*", "", rest))
        if word == "ADD":
            assert "://" not in rest


@pytest.mark.parametrize("name", images.IMAGES)
def test_what_a_dockerfile_copies_is_in_its_context(name: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    images.stage(bench.parts, bench.out)

    for word, rest in instructions(name):
        if word in {"ADD", "COPY"}:
            *given, _ = rest.split()
            assert given
            for path in given:
                assert (bench.out / name / path).exists(), path


@pytest.mark.parametrize(
    ("name", "user"),
    [("postgres", "70:70"), ("redis", "999:1000"), ("garage", None), ("caddy", None), ("ollama", None)],
)
def test_services_run_as_in_the_official_images_and_own_their_volumes(name: str, user: str | None) -> None:
    """None is root, as the official images have it: then the volumes are root's without further ado."""
    given = instructions(name)
    volumes = [path for word, rest in given if word == "VOLUME" for path in rest.split()]

    assert volumes
    assert [rest for word, rest in given if word == "USER"] == ([user] if user else [])
    runs = " ".join(rest for word, rest in given if word == "RUN")
    if user is None:
        assert " -o " not in runs
        assert "chown" not in runs
        return
    uid, gid = user.split(":")
    found = re.findall(rf"install -d -o {uid} -g {gid} -m \d+ ((?:/\S+ ?)+)", runs)
    assert set(volumes) <= {path for paths in found for path in paths.split()}
    # The folder must be made before it is declared: what a build changes in a volume afterwards is dropped.
    assert [word for word, _ in given].index("RUN") < [word for word, _ in given].index("VOLUME")


# --- The entry points -------------------------------------------------------------------------------------------------


class Container:
    """Runs an entry point with programs that only record what they were given."""

    def __init__(self, root: Path, image: str) -> None:
        self.root = root
        self.script = ROOT / "images" / image / "docker-entrypoint.sh"
        self.bin = root / "bin"
        self.data = root / "data"
        self.data.mkdir(parents=True)
        self.tool("id", "case ${1:-} in -u) echo 70 ;; -g) echo 70 ;; esac")
        # Makes what the real one makes that matters here, and keeps the password it reads.
        self.tool(
            "initdb",
            """
            for argument; do case $argument in --pgdata=*) new=${argument#*=} ;; esac; done
            mkdir -p "$new/base"
            echo 15 > "$new/PG_VERSION"
            : > "$new/postgresql.conf"
            : > "$new/pg_hba.conf"
            echo "initdb $*" >> "$LOG"
            echo "password $(cat)" >> "$LOG"
            exit "${INITDB_STATUS:-0}"
            """,
        )
        self.tool(
            "postgres",
            """
            echo "postgres $*" >> "$LOG"
            case ${1:-} in
            --single) echo "sql $(cat)" >> "$LOG" ;;
            *) echo "secret ${POSTGRES_PASSWORD:-none}" >> "$LOG" ;;
            esac
            """,
        )
        self.tool("redis-server", 'echo "redis-server $*" >> "$LOG"')

    def tool(self, name: str, body: str) -> None:
        put(self.bin / name, f"#!/bin/sh\n{body}\n", 0o755)

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        settings = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "LOG": str(self.root / "log"),
            "PGDATA": str(self.data),
            **environment,
        }
        done = subprocess.run(
            ["sh", str(self.script), *arguments], env=settings, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    @property
    def log(self) -> list[str]:
        path = self.root / "log"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def postgres(tmp_path: Path) -> Container:
    return Container(tmp_path, "postgres")


def test_postgres_makes_its_cluster_on_an_empty_volume_and_then_serves(postgres: Container) -> None:
    status, output = postgres.run(
        "postgres",
        "-c",
        "max_connections=200",
        POSTGRES_USER="reflector",
        POSTGRES_PASSWORD="pass word",
        POSTGRES_DB='a"b',
    )

    assert status == 0, output
    new = postgres.data / "initialising"
    initdb, password, single, sql, server, secret = postgres.log
    assert f"--pgdata={new}" in initdb
    assert "--username=reflector" in initdb
    assert "--auth-host=scram-sha-256" in initdb
    assert "pass word" not in initdb
    assert password == "password pass word"
    assert single.startswith(f"postgres --single -F -D {new}")
    assert sql == 'sql CREATE DATABASE "a""b";'
    assert server == "postgres -c max_connections=200"
    assert secret == "secret none"
    assert not new.exists()
    assert (postgres.data / "PG_VERSION").read_text() == "15\n"
    assert "host all all all scram-sha-256" in (postgres.data / "pg_hba.conf").read_text()
    assert "listen_addresses = '*'" in (postgres.data / "postgresql.conf").read_text()


def test_postgres_serves_an_existing_cluster_without_a_password(postgres: Container) -> None:
    put(postgres.data / "PG_VERSION", "15\n")

    status, output = postgres.run("postgres")

    assert status == 0, output
    assert postgres.log == ["postgres ", "secret none"]


def test_postgres_reads_its_password_from_a_file(postgres: Container) -> None:
    secret = put(postgres.root / "secret", "from-file\n")

    status, output = postgres.run("-c", "work_mem=1MB", POSTGRES_PASSWORD_FILE=str(secret))

    assert status == 0, output
    assert "password from-file" in postgres.log
    assert postgres.log[-2] == "postgres -c work_mem=1MB"
    assert not any("CREATE DATABASE" in line for line in postgres.log), "the database postgres is there already"


def test_postgres_passes_more_arguments_to_initdb(postgres: Container) -> None:
    status, output = postgres.run(POSTGRES_PASSWORD="x", POSTGRES_INITDB_ARGS="--data-checksums --wal-segsize=32")

    assert status == 0, output
    assert postgres.log[0].endswith("--data-checksums --wal-segsize=32")


def test_postgres_begins_an_interrupted_first_start_anew(postgres: Container) -> None:
    put(postgres.data / "initialising" / "PG_VERSION", "15\n")
    put(postgres.data / "global" / "pg_control", "half")

    status, output = postgres.run(POSTGRES_PASSWORD="x")

    assert status == 0, output
    assert "interrupted" in output
    assert not (postgres.data / "global").exists()
    assert (postgres.data / "PG_VERSION").exists()


def test_postgres_leaves_no_cluster_when_making_it_fails(postgres: Container) -> None:
    status, _ = postgres.run(POSTGRES_PASSWORD="x", INITDB_STATUS="1")

    assert status != 0
    assert not (postgres.data / "PG_VERSION").exists()
    assert not any(line.startswith("postgres") for line in postgres.log)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "no password for the superuser postgres: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE"),
        (
            {"POSTGRES_PASSWORD": "a", "POSTGRES_PASSWORD_FILE": "/b"},
            "both POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE",
        ),
        ({"POSTGRES_PASSWORD_FILE": "/nowhere/secret"}, "/nowhere/secret is not readable by 70:70"),
        ({"POSTGRES_PASSWORD": "a", "PGDATA": "/nowhere/data"}, "/nowhere/data is missing or not writable"),
    ],
)
def test_postgres_says_what_it_lacks(postgres: Container, environment: dict[str, str], message: str) -> None:
    status, output = postgres.run("postgres", **environment)

    assert status == 1
    assert message in output
    assert postgres.log == []


def test_postgres_touches_no_foreign_files(postgres: Container) -> None:
    put(postgres.data / "holiday.jpg", "x")

    status, output = postgres.run(POSTGRES_PASSWORD="x")

    assert status == 1
    assert "holds files but no PG_VERSION" in output
    assert (postgres.data / "holiday.jpg").exists()


def test_postgres_does_not_run_as_root(postgres: Container) -> None:
    postgres.tool("id", "echo 0")

    status, output = postgres.run("postgres", POSTGRES_PASSWORD="x")

    assert status == 1
    assert "run the container as 70:70" in output


def test_postgres_runs_other_commands_as_they_are(postgres: Container) -> None:
    status, output = postgres.run("echo", "hello")

    assert (status, output) == (0, "hello\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "redis-server --protected-mode no"),
        (["redis-server"], "redis-server --protected-mode no"),
        (["--appendonly", "yes"], "redis-server --protected-mode no --appendonly yes"),
        (["redis-server", "--appendonly", "yes"], "redis-server --protected-mode no --appendonly yes"),
        (["/etc/redis.conf", "--port", "1"], "redis-server /etc/redis.conf --protected-mode no --port 1"),
        (["redis-server", "/etc/redis.conf"], "redis-server /etc/redis.conf --protected-mode no"),
    ],
)
def test_redis_is_started_as_by_the_official_image(tmp_path: Path, arguments: list[str], expected: str) -> None:
    redis = Container(tmp_path, "redis")

    status, output = redis.run(*arguments)

    assert status == 0, output
    assert redis.log == [expected]


# --- Root file systems ------------------------------------------------------------------------------------------------


def apt_sources(
    root: Path, *, distribution: str = "debian", release: str = "bookworm", listed: str = "", deb822: str = ""
) -> list[str]:
    put(root / "etc" / "os-release", f"ID={distribution}\nVERSION_CODENAME={release}\n")
    if listed:
        put(root / "etc" / "apt" / "sources.list", listed)
    if deb822:
        put(root / "etc" / "apt" / "sources.list.d" / "debian.sources", deb822)
    (root / "etc" / "apt").mkdir(exist_ok=True)
    done = subprocess.run(
        ["sh", str(ROOT / "images" / "rootfs.sh"), "--sources", str(root / "etc" / "apt")],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_apt_sources_of_the_machine_are_taken_from_lists(tmp_path: Path) -> None:
    listed = """
# deb http://mirror.test/debian bookworm main
deb http://mirror.test/debian bookworm main contrib
deb [signed-by=/k.gpg arch=amd64] http://mirror.test/debian-security bookworm-security main
deb-src http://mirror.test/debian bookworm main
deb http://docker.test/linux/debian bookworm stable
deb http://pg.test/apt bookworm-pgdg main
deb http://mirror.test/debian bookworm-backports main
deb http://mirror.test/debian bookworm-updates main
"""
    assert apt_sources(tmp_path, listed=listed) == [
        "deb http://mirror.test/debian bookworm main contrib",
        "deb [signed-by=/k.gpg arch=amd64] http://mirror.test/debian-security bookworm-security main",
        "deb http://mirror.test/debian bookworm-updates main",
    ]


DEB822 = """
Types: deb deb-src
URIs: http://one.test/debian http://two.test/debian
Suites: RELEASE RELEASE-updates RELEASE-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian.gpg

# A key in the file itself.
Types: deb
URIs: http://one.test/security
Suites: RELEASE-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://off.test/debian
Suites: RELEASE
Components: main
Enabled: no

Types: deb-src
URIs: http://source.test/debian
Suites: RELEASE
Components: main
"""


@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_apt_sources_of_the_machine_are_taken_from_stanzas(tmp_path: Path, release: str) -> None:
    """A newer Debian's own mirror is asked for the images' release."""
    key = "[signed-by=/usr/share/keyrings/debian.gpg]"

    assert apt_sources(tmp_path, release=release, deb822=DEB822.replace("RELEASE", release)) == [
        f"deb {key} http://one.test/debian bookworm main",
        f"deb {key} http://one.test/debian bookworm-updates main",
        f"deb {key} http://two.test/debian bookworm main",
        f"deb {key} http://two.test/debian bookworm-updates main",
        "deb http://one.test/security bookworm-security main",
    ]


def test_a_machine_without_debian_sources_names_none(tmp_path: Path) -> None:
    assert (
        apt_sources(
            tmp_path, distribution="ubuntu", release="noble", listed="deb http://ubuntu.test/ubuntu noble main\n"
        )
        == []
    )


def test_no_mirror_is_written_down() -> None:
    assert "://" not in (ROOT / "images" / "rootfs.sh").read_text()


def test_another_machine_makes_root_file_systems_in_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The container gets the same script on its input and hands its results back as one archive."""
    made = tmp_path / "made"
    for name in recipes.RECIPES["rootfs"].products:
        put(made / name, name)
    log = tmp_path / "log"
    put(
        tmp_path / "bin" / "docker",
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {log}\ncat > {log}.input\nexec tar --create --directory {made} .\n',
        0o755,
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(system, "is_root_on_debian", lambda: False)
    out = tmp_path / "out"
    out.mkdir()

    recipes.build_rootfs(out)

    assert {path.name: path.read_text() for path in out.iterdir()} == {
        name: name for name in ("base.tar", "postgres.tar", "redis.tar")
    }
    assert (tmp_path / "log.input").read_bytes() == (ROOT / "images" / "rootfs.sh").read_bytes()
    given = log.read_text().splitlines()
    assert given[:3] == ["run", "--rm", "--interactive"]
    image = given[given.index("sh") - 1]
    assert re.fullmatch(r"debian:[\w.-]+@sha256:[0-9a-f]{64}", image)
    assert "--privileged" not in given
    assert "sh -s /out; } >&2 && tar --create --directory /out ." in given[-1]


def test_a_container_that_fails_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "bin" / "docker", "#!/bin/sh\ncat > /dev/null\nexit 125\n", 0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(system, "is_root_on_debian", lambda: False)

    with pytest.raises(ToolchainError, match="docker ended with status 125"):
        recipes.build_rootfs(tmp_path)


# --- Recipes ----------------------------------------------------------------------------------------------------------


def test_recipes_make_every_part_the_images_need() -> None:
    made = {(name, product) for name, recipe in recipes.RECIPES.items() for product in recipe.products}
    needed = {pair for image in images.IMAGES.values() for pair in image.contents.values()}

    assert needed <= made
    assert set(images.PARTS) == set(recipes.RECIPES)


@pytest.mark.parametrize("part", recipes.RECIPES)
def test_inputs_are_stable_and_of_the_part_alone(part: str) -> None:
    assert recipes.inputs(part) == recipes.inputs(part)
    assert len({recipes.inputs(name) for name in recipes.RECIPES}) == len(recipes.RECIPES)


@pytest.mark.parametrize(("part", "file"), [(name, file) for name, r in recipes.RECIPES.items() for file in r.files])
def test_inputs_follow_the_files_a_recipe_reads(
    part: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "images", tmp_path / "images")
    monkeypatch.setattr(recipes, "IMAGES", tmp_path / "images")
    before = {name: recipes.inputs(name) for name in recipes.RECIPES}

    with (tmp_path / "images" / file).open("a") as sink:
        sink.write("# more\n")

    assert {name for name in recipes.RECIPES if recipes.inputs(name) != before[name]} == {part}


@pytest.mark.parametrize(("part", "pin"), [(name, pin) for name, r in recipes.RECIPES.items() for pin in r.pins])
def test_inputs_follow_the_pins_a_recipe_reads(part: str, pin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: recipes.inputs(name) for name in recipes.RECIPES}
    pins = Pins.read()
    pins.data["recipes"][pin] = "moved"
    monkeypatch.setattr(Pins, "read", lambda: pins)

    assert {name for name in recipes.RECIPES if recipes.inputs(name) != before[name]} == {part}


def test_every_pin_of_recipes_is_exact_and_used() -> None:
    pins = Pins.read().data["recipes"]

    assert set(pins) == {pin for recipe in recipes.RECIPES.values() for pin in recipe.pins}
    for name, value in pins.items():
        if name == "debian_image":
            assert re.fullmatch(r"debian:[\w.-]+@sha256:[0-9a-f]{64}", value)
        else:
            assert re.fullmatch(r"\d+(\.\d+)+", value)


def test_the_probe_gets_wheels_for_the_images_and_not_for_this_machine() -> None:
    names = recipes.wheel_platforms("x86_64")

    assert names[0] == "manylinux_2_36_x86_64"
    assert {"manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64"} <= set(names)
    assert not any("2_37" in name for name in names)
    assert recipes.wheel_platforms("arm64") == recipes.wheel_platforms("aarch64")


def test_python_of_the_wheels_is_that_of_the_base_image() -> None:
    script = (ROOT / "images" / "rootfs.sh").read_text()

    assert f"Python ({recipes.PYTHON_VERSION})" in script
    assert "suite=bookworm" in script


RUSTC = "#!/bin/sh\nprintf 'rustc 1.96.0\\nhost: riscv64gc-unknown-linux-gnu\\nrelease: 1.96.0\\n'\n"


def test_a_compiler_that_names_no_host_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "bin" / "rustc", "#!/bin/sh\nexit 1\n", 0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with pytest.raises(ToolchainError, match="names no host"):
        recipes._rust_host()


def test_garage_is_built_by_the_crate_s_own_lock_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLCHAIN_CACHE", str(tmp_path / "cache"))
    log = tmp_path / "log"
    put(
        tmp_path / "bin" / "cargo",
        f"""#!/bin/sh
printf '%s\\n' "$RUSTFLAGS" "$@" > {log}
while [ $# -gt 0 ]; do case $1 in --root) root=$2 ;; --target-dir) target=$2 ;; esac; shift; done
mkdir -p "$root/bin" "$target"
printf built > "$root/bin/garage"
""",
        0o755,
    )
    put(tmp_path / "bin" / "rustc", RUSTC, 0o755)
    put(tmp_path / "bin" / "strip", "#!/bin/sh\nprintf ' stripped' >> \"$1\"\n", 0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    out = tmp_path / "out"
    out.mkdir()

    recipes.build_garage(out)

    flags, *given = log.read_text().splitlines()
    assert flags == "-C target-feature=+crt-static"
    assert given[given.index("--target") + 1] == "riscv64gc-unknown-linux-gnu", "else the flags are for macros as well"
    assert given[:2] == ["install", "garage"]
    assert given[given.index("--version") + 1] == Pins.read().version("garage")
    assert "--locked" in given
    assert "--config=profile.release.opt-level=1" in given
    assert (out / "garage").read_text() == "built stripped"
    assert [path.name for path in out.iterdir()] == ["garage"]
    target = Path(given[given.index("--target-dir") + 1])
    assert target.is_relative_to(tmp_path / "cache"), "an interrupted compilation must outlive the part's work folder"
    assert not target.exists(), "compiled crates are a gigabyte nobody needs afterwards"


FAKE_GO = """#!/bin/sh
echo "$PWD GOOS=$GOOS CGO_ENABLED=$CGO_ENABLED CGO_CFLAGS=$CGO_CFLAGS GOWORK=$GOWORK $*" >> {log}
case $1 in
mod) [ -z "$GO_ERROR" ] || {{ printf '{{"Error": "%s"}}' "$GO_ERROR"; exit 1; }}; printf '{{"Dir": "{module}"}}' ;;
build) while [ "$1" != -o ]; do shift; done; printf program > "$2" ;;
esac
"""


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the log of a Go command that finds every module and builds nothing."""
    put(tmp_path / "module" / "miniaudio.h", "// header")
    log = tmp_path / "go.log"
    put(tmp_path / "bin" / "go", FAKE_GO.format(log=log, module=tmp_path / "module"), 0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("TOOLCHAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GO_ERROR", "")
    return log


@pytest.mark.parametrize("part", ["caddy", "ollama"])
def test_go_programs_are_built_from_their_published_modules(part: str, tmp_path: Path, go: Path) -> None:
    version = Pins.read().version(part)
    module = {"caddy": "github.com/caddyserver/caddy/v2", "ollama": "github.com/ollama/ollama"}[part]

    assert recipes.main([part, str(tmp_path / "out")]) == 0

    assert (tmp_path / "out" / part).read_text() == "program"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [part]
    calls = go.read_text().splitlines()
    assert any(line.startswith("/ ") and line.endswith(f"mod download -json {module}@v{version}") for line in calls)
    build = next(line for line in calls if " build " in line)
    assert f"-C {tmp_path / 'module'} -mod=readonly -trimpath" in build
    assert "GOOS=linux" in build
    assert "GOWORK=off" in build
    assert f"={'v' if part == 'caddy' else ''}{version}" in build
    assert f"CGO_ENABLED={0 if part == 'caddy' else 1}" in build


def test_ollama_is_compiled_with_the_same_flags_after_an_interruption(tmp_path: Path, go: Path) -> None:
    """Go finds what it has compiled only under the same flags, and the flags name the folder of the missing header."""
    recipes.main(["ollama", str(tmp_path / "one")])
    recipes.main(["ollama", str(tmp_path / "two")])

    flags = {
        line.split("CGO_CFLAGS=")[1].split(" GOWORK")[0] for line in go.read_text().splitlines() if " build " in line
    }

    assert len(flags) == 1
    assert str(tmp_path / "cache") in flags.pop()


def test_a_cache_may_have_spaces_in_its_path(tmp_path: Path, go: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go splits the variable at spaces, except between quotes."""
    monkeypatch.setenv("TOOLCHAIN_CACHE", str(tmp_path / "my cache"))

    assert recipes.main(["ollama", str(tmp_path / "out")]) == 0

    (build,) = (line for line in go.read_text().splitlines() if " build " in line)
    flags = shlex.split(build.split("CGO_CFLAGS=")[1].split(" GOWORK")[0])
    assert flags == ["-O2", f"-I{tmp_path}/my cache/build/ollama-{Pins.read().version('ollama')}"]


def test_a_module_that_cannot_be_had_is_named(
    tmp_path: Path, go: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GO_ERROR", "no such version")

    assert recipes.main(["caddy", str(tmp_path / "out")]) == 1

    assert "could not be fetched: no such version" in capsys.readouterr().err


def test_what_the_probe_runs_on_is_for_the_images_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []

    def run(command: list[str], environment: dict[str, str] | None = None) -> None:
        calls.append(list(command))
        put(Path(command[command.index("--target") + 1]) / "bin" / "uvicorn", f"#!{command[0]}\n", 0o755)
        put(Path(command[command.index("--target") + 1]) / "uvicorn" / "__init__.py", "")

    monkeypatch.setattr(recipes, "_run", run)

    recipes.build_probe(tmp_path)

    (command,) = calls
    assert command[1:4] == ["-m", "pip", "install"]
    assert {"--no-deps", "--no-compile", "--only-binary=:all:"} <= set(command)
    assert command[command.index("--python-version") + 1] == "3.11"
    assert command[command.index("--requirement") + 1] == str(ROOT / "images" / "probe" / "requirements.txt")
    assert sum(word.startswith("--platform=") for word in command) > 20
    assert [path.name for path in (tmp_path / "site-packages").iterdir()] == ["uvicorn"], "launchers name this machine"


def test_a_failing_build_says_which_command_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOOLCHAIN_CACHE", str(tmp_path / "cache"))
    put(tmp_path / "bin" / "cargo", "#!/bin/sh\nexit 101\n", 0o755)
    put(tmp_path / "bin" / "rustc", RUSTC, 0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    assert recipes.main(["garage", str(tmp_path / "out")]) == 1

    assert "`cargo install garage" in capfd.readouterr().err


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert recipes.main(["nginx", "/nowhere"]) == 2
    assert "caddy,garage,ollama,rootfs,model,probe" in capsys.readouterr().err


class Apt:
    """Stands in for the package manager."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, debian: bool, met: set[str]) -> None:
        self.installed: list[str] = []
        monkeypatch.setattr(system, "is_root_on_debian", lambda: debian)
        monkeypatch.setattr(recipes.Need, "met", lambda need: need.package in met)
        monkeypatch.setattr(system, "apt_install", lambda packages, why, progress: self.installed.extend(packages))


def test_missing_packages_are_installed_as_root_on_debian(monkeypatch: pytest.MonkeyPatch) -> None:
    apt = Apt(monkeypatch, debian=True, met={"libstb-dev"})

    recipes.prepare("ollama", Progress())

    assert apt.installed == ["build-essential", "nlohmann-json3-dev"]


def test_what_only_shortens_a_build_is_no_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    apt = Apt(monkeypatch, debian=False, met={"build-essential"})
    recipes.prepare("garage", Progress())
    assert apt.installed == []

    apt = Apt(monkeypatch, debian=True, met={"build-essential"})
    recipes.prepare("garage", Progress())
    assert apt.installed == ["libsodium-dev"]


def test_missing_packages_are_named_where_they_cannot_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    Apt(monkeypatch, debian=False, met={"build-essential"})

    with pytest.raises(
        ToolchainError, match=r"ollama .* without .*json\.hpp \(Debian: nlohmann-json3-dev\), .*stb"
    ) as caught:
        recipes.prepare("ollama", Progress())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("part", "missing"), [("garage", "libc.a"), ("ollama", "libc.a"), ("ollama", "libstdc++.a")])
def test_a_static_library_that_is_missing_is_named_before_anything_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, missing: str
) -> None:
    """Debian's compilers bring theirs, other distributions have them in packages of their own."""
    compiler = f'#!/bin/sh\n[ "$1" = "-print-file-name={missing}" ] && echo {missing} || echo "/usr/lib/${{1#*=}}"\n'
    for name in ("cc", "c++", "make", "strip"):
        put(tmp_path / name, compiler, 0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(system, "is_root_on_debian", lambda: False)
    with pytest.raises(ToolchainError, match=rf"{part} .* without {re.escape(missing)} \(Debian: b") as caught:
        recipes.prepare(part, Progress())
    assert str(caught.value).count(".a (") == 1, "the other is there"


@pytest.mark.parametrize(
    ("part", "remedy"),
    [("garage", "pin the sum of its official release"), ("ollama", "let set-up reach its official release")],
)
@pytest.mark.parametrize("system_name", ["linux", "darwin"])
def test_the_release_that_can_be_had_instead_of_a_build_is_named(
    monkeypatch: pytest.MonkeyPatch, part: str, remedy: str, system_name: str
) -> None:
    """Garage's publisher offers no checksums, so reaching its releases is not enough."""
    Apt(monkeypatch, debian=False, met=set())
    monkeypatch.setattr("sys.platform", system_name)
    with pytest.raises(ToolchainError, match=rf"{remedy} \(docs/mirrors-and-air-gap\.md\)"):
        recipes.prepare(part, Progress())


def test_root_file_systems_need_debian_or_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    Apt(monkeypatch, debian=False, met=set())
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ToolchainError, match="no docker command"):
        recipes.prepare("rootfs", Progress())

    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    recipes.prepare("rootfs", Progress())


def test_programs_that_need_a_linux_linker_are_refused_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")

    for name in ("garage", "ollama"):
        message = r"on Linux only: .* copy its cache of parts \(TOOLCHAIN_CACHE\)"
        with pytest.raises(ToolchainError, match=message):
            recipes.prepare(name, Progress())


def test_a_part_made_on_linux_is_found_on_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come from there with the cache; macOS calls the same architecture arm64."""
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    on_linux = recipes.inputs("garage")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert recipes.inputs("garage") == on_linux


def test_the_second_model_shares_the_first_one_s_weights() -> None:
    models = ROOT / "images" / "ollama" / "models"
    for name in ("tiny", "tiny-next"):
        modelfile = (models / name / "Modelfile").read_text()
        weights = re.search(r"^FROM (\S+)$", modelfile, re.MULTILINE)
        assert weights is not None
        assert (models / name / weights.group(1)).resolve() == models / "tiny" / "model.gguf"
        assert ".Tools" in modelfile, "Reflector asks only models that can call tools"
