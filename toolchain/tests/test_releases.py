"""Official releases, against a real HTTP server on this machine."""

import hashlib
import http.server
import io
import random
import shutil
import socket
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from toolchain import parts, releases, setup
from toolchain.layout import Layout, ToolchainError
from toolchain.pins import Pins
from toolchain.progress import Progress

PROGRAM = b"#!/bin/sh\necho v1.2.3\n" + random.Random(1).randbytes(1 << 19)
"""Half a megabyte that does not compress, so that a transfer can be cut off in the middle."""


def tar(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]  # mode is any of tarfile's
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o755
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


ARCHIVE = tar({"pulumi/pulumi": PROGRAM, "pulumi/LICENSE": b"text", "../outside": b"evil"})


@dataclass
class Site:
    """A release site whose behaviour a test sets."""

    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: list[int] = field(default_factory=list)
    """How many bytes of the next archives to send before the connection is closed; empty means all."""
    ranges: bool = True
    status: int = 0
    missing: int = 404
    """How a file that is not there is answered; stores that do not list their content say 403."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    """(path, Range header) of every request."""
    base: str = ""


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            site.requests.append((self.path, asked))
            if site.status:
                self.send_error(site.status)
                return
            content = site.files.get(self.path)
            if content is None:
                self.send_error(site.missing)
                return
            start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked and site.ranges else 0
            if start >= len(content) and start:
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            body = content[start:]
            if self.path.endswith(("gz", "zst")) and site.cut_after:
                body = body[: site.cut_after.pop(0)]
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Keep the test's output quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    site.base = f"http://127.0.0.1:{server.server_port}"
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def log() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def downloader(log: io.StringIO) -> releases.Downloader:
    return releases.Downloader(Progress(log))


def release(site: Site, *, sha256: str | None = None, sums: bool = True) -> releases.Release:
    return releases.Release(
        name="engine",
        url=f"{site.base}/sdk/pulumi-v1.2.3-linux-x64.tar.gz",
        checksum_urls=(f"{site.base}/sdk/missing.txt", f"{site.base}/sdk/sums.txt") if sums else (),
        sha256=sha256,
        files={"pulumi/pulumi": "pulumi"},
    )


def publish(site: Site, archive: bytes = ARCHIVE, algorithm: str = "sha256", summed: bytes = ARCHIVE) -> None:
    total = hashlib.new(algorithm, summed).hexdigest()
    site.files["/sdk/pulumi-v1.2.3-linux-x64.tar.gz"] = archive
    lines = f"{'0' * len(total)}  other.tar.gz\n{total}  ./pulumi-v1.2.3-linux-x64.tar.gz\n"
    site.files["/sdk/sums.txt"] = lines.encode()


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_a_good_archive_is_taken_and_only_its_named_files_unpacked(
    site: Site, downloader: releases.Downloader, tmp_path: Path, algorithm: str
) -> None:
    publish(site, algorithm=algorithm)
    archive, proof = downloader.fetch(release(site), tmp_path / "downloads")
    assert proof == f"{algorithm} {hashlib.new(algorithm, ARCHIVE).hexdigest()}"
    target = tmp_path / "part"
    target.mkdir()
    releases.unpack(release(site), archive, target)
    assert (target / "pulumi").read_bytes() == PROGRAM
    assert (target / "pulumi").stat().st_mode & 0o777 == 0o755
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["pulumi", archive.name]


def test_a_verified_archive_is_not_fetched_again(site: Site, downloader: releases.Downloader, tmp_path: Path) -> None:
    publish(site)
    downloader.fetch(release(site), tmp_path)
    site.requests.clear()
    downloader.fetch(release(site), tmp_path)
    assert [path for path, _ in site.requests if path.endswith("gz")] == []


@pytest.mark.parametrize("pinned", [True, False])
def test_a_wrong_checksum_stops_and_leaves_nothing(
    site: Site, downloader: releases.Downloader, tmp_path: Path, pinned: bool
) -> None:
    publish(site, archive=ARCHIVE[:-1] + b"!")
    expected = hashlib.sha256(ARCHIVE).hexdigest()
    with pytest.raises(releases.WrongChecksum, match=expected) as caught:
        downloader.fetch(release(site, sha256=expected if pinned else None), tmp_path)
    assert ("pinned" in str(caught.value)) == pinned
    assert list(tmp_path.iterdir()) == []


def test_a_pinned_sum_wins_over_the_publishers_list(
    site: Site, downloader: releases.Downloader, tmp_path: Path
) -> None:
    publish(site, summed=b"something else")
    downloader.fetch(release(site, sha256=hashlib.sha256(ARCHIVE).hexdigest()), tmp_path)
    assert [path for path, _ in site.requests] == ["/sdk/pulumi-v1.2.3-linux-x64.tar.gz"]


def test_a_release_without_any_checksum_is_not_used(
    site: Site, downloader: releases.Downloader, tmp_path: Path
) -> None:
    publish(site)
    with pytest.raises(releases.NotAvailable, match="no checksum"):
        downloader.fetch(release(site, sums=False), tmp_path)
    assert site.requests == []


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_off_transfer_goes_on(site: Site, downloader: releases.Downloader, tmp_path: Path, ranges: bool) -> None:
    publish(site)
    site.ranges = ranges
    site.cut_after = [len(ARCHIVE) // 2]
    archive, _ = downloader.fetch(release(site), tmp_path)
    assert archive.read_bytes() == ARCHIVE
    asked = [header for path, header in site.requests if path.endswith("gz")]
    assert asked == ["", f"bytes={len(ARCHIVE) // 2}-"]


def test_a_transfer_cut_off_for_good_is_resumed_by_the_next_run(
    site: Site, downloader: releases.Downloader, tmp_path: Path, log: io.StringIO
) -> None:
    publish(site)
    site.cut_after = [1000, 1000, 1000]
    with pytest.raises(releases.NotAvailable, match="cut off 3 times"):
        downloader.fetch(release(site), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["pulumi-v1.2.3-linux-x64.tar.gz.partial"]
    site.requests.clear()
    archive, _ = releases.Downloader(Progress(log)).fetch(release(site), tmp_path)
    assert archive.read_bytes() == ARCHIVE
    assert ("/sdk/pulumi-v1.2.3-linux-x64.tar.gz", "bytes=3000-") in site.requests


@pytest.mark.parametrize("leftover", [b"another file's beginning", b"x" * (len(ARCHIVE) + 10)])
def test_a_leftover_of_another_file_is_thrown_away(
    site: Site, downloader: releases.Downloader, tmp_path: Path, leftover: bytes
) -> None:
    publish(site)
    (tmp_path / "pulumi-v1.2.3-linux-x64.tar.gz.partial").write_bytes(leftover)
    archive, _ = downloader.fetch(release(site), tmp_path)
    assert archive.read_bytes() == ARCHIVE


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_missing_release_does_not_condemn_the_host(
    site: Site, downloader: releases.Downloader, tmp_path: Path, status: int
) -> None:
    site.missing = status
    with pytest.raises(releases.NotAvailable, match=f"status {status}"):
        downloader.fetch(release(site), tmp_path)
    publish(site)
    downloader.fetch(release(site), tmp_path)


def test_a_missing_list_of_checksums_may_be_made_up_for_by_another_host(
    site: Site, downloader: releases.Downloader, tmp_path: Path
) -> None:
    publish(site)
    site.missing = 403
    elsewhere = site.base.replace("127.0.0.1", "localhost") + "/sdk/sums.txt"
    downloader.fetch(replace(release(site), checksum_urls=(f"{site.base}/sdk/missing.txt", elsewhere)), tmp_path)


@pytest.mark.parametrize("status", [407, 502])
def test_a_host_that_refuses_is_asked_once_and_named_once(
    site: Site, downloader: releases.Downloader, tmp_path: Path, log: io.StringIO, status: int
) -> None:
    site.status = status
    for _ in range(3):
        with pytest.raises(releases.NotAvailable):
            downloader.fetch(release(site), tmp_path)
    assert len(site.requests) == 1
    assert log.getvalue().count("out of reach") == 1


def test_a_closed_port_is_found_out_at_once(downloader: releases.Downloader, tmp_path: Path, log: io.StringIO) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    gone = Site(base=f"http://127.0.0.1:{port}")
    for _ in range(2):
        with pytest.raises(releases.NotAvailable, match="out of reach"):
            downloader.fetch(release(gone), tmp_path)
    assert log.getvalue().count("127.0.0.1 is out of reach") == 1


def test_an_archive_without_the_expected_files_is_refused(tmp_path: Path, site: Site) -> None:
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(tar({"something/else": b"x"}))
    with pytest.raises(ToolchainError, match="pulumi/pulumi"):
        releases.unpack(release(site), archive, tmp_path)


def test_the_program_that_unpacks_is_asked_for_before_the_download(
    site: Site, downloader: releases.Downloader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    wanted = replace(release(site), url=f"{site.base}/o.tar.zst")
    with pytest.raises(releases.NotAvailable, match="status 404"):  # nothing is to be had, so nothing to be unpacked
        downloader.fetch(wanted, tmp_path)
    site.files["/sdk/sums.txt"] = f"{'0' * 64}  o.tar.zst".encode()
    with pytest.raises(ToolchainError, match=r"zstd is not on PATH.*install it"):
        downloader.fetch(wanted, tmp_path)
    assert "/o.tar.zst" not in [path for path, _ in site.requests]


@pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed")
def test_zstandard_archives_are_unpacked_with_patterns_and_links(tmp_path: Path) -> None:
    files = {"bin/ollama": PROGRAM, "lib/ollama/libggml-base.so.0": b"lib", "lib/ollama/cuda/x": b"big"}
    buffer = io.BytesIO(tar(files, "w"))
    with tarfile.open(fileobj=buffer, mode="a") as archive:
        member = tarfile.TarInfo("lib/ollama/libggml-base.so")
        member.type, member.linkname = tarfile.SYMTYPE, "libggml-base.so.0"
        archive.addfile(member)
    plain = tmp_path / "o.tar"
    plain.write_bytes(buffer.getvalue())
    subprocess.run(["zstd", "-q", str(plain)], check=True)
    target = tmp_path / "part"
    target.mkdir()
    releases.unpack(_ollama(), tmp_path / "o.tar.zst", target)
    assert (target / "bin" / "ollama").read_bytes() == PROGRAM
    assert (target / "lib" / "ollama" / "libggml-base.so").read_bytes() == b"lib"
    assert not (target / "lib" / "ollama" / "x").exists()


def _ollama() -> releases.Release:
    files = {"bin/ollama": "bin/ollama", "lib/ollama/libggml-*": "lib/ollama/"}
    return releases.Release("ollama", "x", (), None, files)


def test_every_part_comes_from_a_mirror_of_the_release_sites(
    site: Site, tmp_path: Path, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way, with each publisher's own names, folders and kinds of sums."""
    monkeypatch.setenv("TOOLCHAIN_RELEASE_MIRROR", site.base)
    monkeypatch.setenv("TOOLCHAIN_ORIGINS", "release")
    pins = Pins.read()
    catalogue = setup.Catalogue(Layout(tmp_path), pins)
    catalogue.host = catalogue.container = ("linux", "amd64")
    pulumi, caddy = pins.version("pulumi"), pins.version("caddy")
    names = ("pulumi", "pulumi-language-python", "pulumi-language-python-exec", "pulumi-resource-pulumi-python")
    sdk = tar({f"pulumi/{name}": name.encode() for name in names})
    site.files[f"/get.pulumi.com/releases/sdk/pulumi-v{pulumi}-linux-x64.tar.gz"] = sdk
    sums = f"{hashlib.sha256(sdk).hexdigest()}  pulumi-v{pulumi}-linux-x64.tar.gz\n"
    site.files[f"/get.pulumi.com/releases/sdk/pulumi-{pulumi}-checksums.txt"] = sums.encode()
    for name in setup.REQUIRED_PLUGINS:
        version, content = pins.version(name), tar({f"pulumi-resource-{name}": name.encode(), "LICENSE": b""})
        archive = f"pulumi-resource-{name}-v{version}-linux-amd64.tar.gz"
        site.files[f"/get.pulumi.com/releases/plugins/{archive}"] = content
        sums = f"{hashlib.sha1(content).hexdigest()}  ./{archive}\n"
        folder = f"/github.com/pulumi/pulumi-{name}/releases/download/v{version}"
        site.files[f"{folder}/pulumi-{name}_{version}_checksums.txt"] = sums.encode()
    content = tar({"caddy": b"caddy", "README.md": b""})
    folder = f"/github.com/caddyserver/caddy/releases/download/v{caddy}"
    site.files[f"{folder}/caddy_{caddy}_linux_amd64.tar.gz"] = content
    sums = f"{hashlib.sha512(content).hexdigest()}  caddy_{caddy}_linux_amd64.tar.gz\n"
    site.files[f"{folder}/caddy_{caddy}_checksums.txt"] = sums.encode()

    shop = parts.Workshop(Progress(log), cache=tmp_path / "cache")
    wanted = [catalogue.engine(), catalogue.language(), *map(catalogue.plugin, setup.REQUIRED_PLUGINS)]
    found = [shop.obtain(part) for part in (*wanted, catalogue.image_part("caddy"))]
    shop.tidy()
    assert {part.origin for part in found} == {parts.RELEASE}
    assert [part.proof.split()[0] for part in found] == ["sha256"] * 2 + ["sha1"] * 4 + ["sha512"]
    assert [part.main.read_text() for part in found] == [
        *("pulumi", "pulumi-language-python"),
        *setup.REQUIRED_PLUGINS,
        "caddy",
    ]
    asked = [path for path, _ in site.requests if path.endswith(".tar.gz")]
    assert len(asked) == len(set(asked)) == 6, "the engine and the language host come in one download"
    assert list((tmp_path / "cache" / "downloads").iterdir()) == []
    with pytest.raises(ToolchainError, match="no checksum of garage"):
        shop.obtain(catalogue.image_part("garage"))


def test_urls_of_the_official_releases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOOLCHAIN_RELEASE_MIRROR", raising=False)
    pins = Pins.read()
    pulumi, docker = pins.version("pulumi"), pins.version("docker")
    engine = releases.describe(pins, "pulumi", None, ("linux", "amd64"), {})
    assert engine.url == f"https://get.pulumi.com/releases/sdk/pulumi-v{pulumi}-linux-x64.tar.gz"
    assert engine.checksum_urls == (f"https://get.pulumi.com/releases/sdk/pulumi-{pulumi}-checksums.txt",)
    plugin = releases.describe(pins, "plugin", "docker", ("darwin", "arm64"), {})
    assert plugin.url.endswith(f"/releases/plugins/pulumi-resource-docker-v{docker}-darwin-arm64.tar.gz")
    assert plugin.checksum_urls[1].startswith("https://github.com/pulumi/pulumi-docker/releases/download/")
    with pytest.raises(releases.NotAvailable, match="darwin"):
        releases.describe(pins, "garage", None, ("darwin", "arm64"), {})


def test_a_mirror_stands_in_front_of_every_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLCHAIN_RELEASE_MIRROR", "https://mirror.example/releases/")
    found = releases.describe(Pins.read(), "plugin", "tls", ("linux", "amd64"), {})
    assert found.url.startswith("https://mirror.example/releases/get.pulumi.com/releases/plugins/pulumi-resource-tls-v")
    assert found.checksum_urls[1].startswith("https://mirror.example/releases/github.com/pulumi/pulumi-tls/")


def test_the_base_of_one_part_can_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLCHAIN_RELEASE_MIRROR", "https://mirror.example")
    monkeypatch.setenv("TOOLCHAIN_RELEASE_BASE_PLUGIN", "http://files.example/{name}")
    found = releases.describe(Pins.read(), "plugin", "tls", ("linux", "amd64"), {})
    assert found.url.startswith("http://files.example/tls/pulumi-resource-tls-v")
    assert all(url.startswith("http://files.example/tls/") for url in found.checksum_urls)
