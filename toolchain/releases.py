"""Official releases: download, prove by checksum, unpack.

A transfer that is cut off is resumed where the server allows it, in this run and in the next one. A host that does not
answer is remembered for the run, so that a machine behind a mirror loses a moment, not a time-out for every part.
"""

import fnmatch
import hashlib
import http.client
import os
import shutil
import socket
import subprocess
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from toolchain import system
from toolchain.layout import ToolchainError
from toolchain.pins import Pins
from toolchain.progress import Progress, Step, size

CONNECT_SECONDS = 3.0
"""How long a host may take to accept a connection before it counts as out of reach."""

READ_SECONDS = 30.0
"""How long a server may be silent in the middle of a transfer."""

ATTEMPTS = 3
"""How often a cut-off transfer is taken up again in one run."""

_CHUNK = 1 << 18
# A bucket that lets nobody list it says 403 of an object it does not have, get.pulumi.com among them. A proxy that
# forbids the whole host says so when the tunnel to it is asked for, which is no answer of the host.
_MISSING = (403, 404, 410)
_ALGORITHMS = {40: "sha1", 64: "sha256", 128: "sha512"}


class NotAvailable(Exception):
    """The release cannot be had here; the next way to get the part is tried. Its text says why."""


class OutOfReach(NotAvailable):
    """Its host does not answer or refuses; that has been said when it was found out."""


class WrongChecksum(ToolchainError):
    """What was downloaded is not what the publisher or the pinned set says."""


@dataclass(frozen=True)
class Release:
    """One archive of an official release."""

    name: str
    url: str
    checksum_urls: tuple[str, ...]
    sha256: str | None
    """Pinned sum; None means the publisher's list is asked."""
    files: Mapping[str, str]
    """Path or pattern in the archive → path in the part's folder; ends with "/" to keep the file's own name."""


def describe(pins: Pins, part: str, plugin: str | None, platform: tuple[str, str], files: Mapping[str, str]) -> Release:
    """Return the release of `part` for `platform`; raises NotAvailable where the publisher has none for it.

    Two settings move it to a mirror: `TOOLCHAIN_RELEASE_BASE_<PART>` replaces the base URL of one part (PULUMI,
    PLUGIN, CADDY, GARAGE, OLLAMA; {name}, {version} and so on are filled in), and `TOOLCHAIN_RELEASE_MIRROR` is put in
    front of the host of every remaining URL.
    """
    table = pins.data["release"][part]
    name = plugin or part
    system, arch = platform
    values = {
        "name": name,
        "version": pins.version(name),
        "os": table.get("os", {"linux": "linux", "darwin": "darwin"}).get(system),
        "arch": table["arch"].get(arch),
    }
    if values["os"] is None or values["arch"] is None:
        raise NotAvailable(f"{name} has no official release for {system}/{arch}")
    own = os.environ.get(f"TOOLCHAIN_RELEASE_BASE_{part.upper()}")
    base = (own or table["base"]).format(**values).rstrip("/")

    def whole(reference: str) -> str:
        reference = reference.format(**values)
        url = reference if "://" in reference else f"{base}/{reference}"
        return url if own and url.startswith(base) else _mirrored(url)

    sums = [reference for reference in table["checksums"] if not own or "://" not in reference]
    return Release(
        name=name,
        url=whole(table["archive"]),
        checksum_urls=tuple(whole(reference) for reference in sums),
        sha256=pins.sha256(name, f"{system}-{arch}"),
        files=files,
    )


def _mirrored(url: str) -> str:
    mirror = os.environ.get("TOOLCHAIN_RELEASE_MIRROR")
    if not mirror:
        return url
    parts = urllib.parse.urlsplit(url)
    return f"{mirror.rstrip('/')}/{parts.netloc}{parts.path}"


@dataclass
class Downloader:
    """Downloads for one run; remembers which hosts are out of reach."""

    progress: Progress
    unreachable: dict[str, str] = field(default_factory=dict)
    """Host → why it counts as out of reach."""

    def fetch(self, release: Release, folder: Path) -> tuple[Path, str]:
        """Return the verified archive of `release` in `folder`, and "<algorithm> <sum>" it was proved by.

        Raises NotAvailable when it cannot be had here (out of reach, missing, no checksum, cut off for good) and
        WrongChecksum when it could but is not what it should be; nothing wrong is left behind then.
        """
        expected = release.sha256 or self._published(release)
        if expected is None:
            raise NotAvailable(f"no checksum of {release.name} is pinned or published, so its release is not used")
        if release.url.endswith(".zst") and shutil.which("zstd") is None:
            # Now and not when it is unpacked: the one archive of this kind has 1.4 GB.
            if not system.is_root_on_debian():
                raise ToolchainError(
                    f"zstd is not on PATH, and the release of {release.name} is unpacked with it: install it"
                    " (package zstd) and run this again."
                )
            system.apt_install(["zstd"], f"to unpack {release.name}", self.progress)
        algorithm = _ALGORITHMS[len(expected)]
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / PurePosixPath(urllib.parse.urlsplit(release.url).path).name
        if target.exists() and _digest(target, algorithm) == expected:
            return target, f"{algorithm} {expected}"
        partial = target.with_name(target.name + ".partial")
        fresh = not partial.exists()
        with self.progress.step(f"{release.name}: downloading {release.url}") as step:
            self._transfer(release.url, partial, step)
            found = _digest(partial, algorithm)
            if found != expected and not fresh:
                # What an earlier run left may belong to another file; only a whole fresh transfer proves anything.
                partial.unlink()
                self._transfer(release.url, partial, step)
                found = _digest(partial, algorithm)
            if found != expected:
                partial.unlink()
                raise WrongChecksum(
                    f"{release.url} has {algorithm} {found}, expected {expected}"
                    f" ({'pinned in toolchain/versions.toml' if release.sha256 else 'from the publisher'})."
                    " Nothing of it was kept. If a mirror or proxy stands in between, it serves something else."
                )
        partial.replace(target)
        return target, f"{algorithm} {expected}"

    def _published(self, release: Release) -> str | None:
        name = PurePosixPath(urllib.parse.urlsplit(release.url).path).name
        reason: NotAvailable | None = None
        for url in release.checksum_urls:
            try:
                text = self._read(url)
            except NotAvailable as error:
                reason = error
                continue
            for line in text.splitlines():
                fields = line.split()
                if (
                    len(fields) == 2
                    and fields[1].lstrip("*").removeprefix("./") == name
                    and len(fields[0]) in _ALGORITHMS
                ):
                    return fields[0].lower()
        if reason is not None:
            raise reason
        return None

    def _read(self, url: str) -> str:
        try:
            with self._open(url) as response:
                return bytes(response.read()).decode("utf-8", errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise NotAvailable(f"{url}: {error}") from error

    def _transfer(self, url: str, partial: Path, step: Step) -> None:
        for _ in range(ATTEMPTS):
            have = partial.stat().st_size if partial.exists() else 0
            try:
                response = self._open(url, have)
            except urllib.error.HTTPError as error:
                if error.code == 416 and have:  # nothing is left to send: the checksum decides
                    return
                raise
            with response:
                resumed = have > 0 and response.status == 206
                length = response.headers.get("Content-Length")
                total = (have if resumed else 0) + int(length) if length else None
                with partial.open("ab" if resumed else "wb") as sink:
                    try:
                        done = have if resumed else 0
                        while chunk := response.read(_CHUNK):
                            sink.write(chunk)
                            done += len(chunk)
                            step.detail = f"{size(done)} of {size(total)}" if total else size(done)
                    except (OSError, http.client.HTTPException) as error:
                        step.detail = f"cut off: {error}"
            if total is None or partial.stat().st_size >= total:
                return
        raise NotAvailable(
            f"{url} was cut off {ATTEMPTS} times, last at {size(partial.stat().st_size)} of {size(total or 0)};"
            " the next run goes on from there"
        )

    def _open(self, url: str, offset: int = 0) -> http.client.HTTPResponse:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
        if host in self.unreachable:
            raise OutOfReach(f"{host} is out of reach")
        request = urllib.request.Request(url, headers={"User-Agent": "reflector-toolchain"})
        if offset:
            request.add_header("Range", f"bytes={offset}-")
        try:
            if parts.scheme in ("http", "https") and parts.scheme not in urllib.request.getproxies():
                port = parts.port or (443 if parts.scheme == "https" else 80)
                socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
            response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=READ_SECONDS)
        except urllib.error.HTTPError as error:
            if error.code == 416 and offset:
                raise
            if error.code in _MISSING:
                raise NotAvailable(f"{url} is not there (status {error.code})") from error
            self._give_up(host, f"it answers with status {error.code}")
            raise OutOfReach(f"{host} answers with status {error.code}") from error
        except OSError as error:
            reason = getattr(error, "reason", error)
            self._give_up(host, str(reason))
            raise OutOfReach(f"{host} is out of reach ({reason})") from error
        return response

    def _give_up(self, host: str, why: str) -> None:
        self.unreachable[host] = why
        self.progress.once(f"host {host}", f"{host} is out of reach ({why}); it is not asked again in this run.")


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, algorithm).hexdigest()


def unpack(release: Release, archive: Path, target: Path) -> None:
    """Put the files of `release` from its verified `archive` into the folder `target`, with their modes.

    Only members that `release.files` names are read, so nothing can land outside `target`.
    """
    if archive.name.endswith(".tar.gz"):
        with tarfile.open(archive, "r:gz") as source:
            _members(release, source, target)
    elif archive.name.endswith(".tar.zst"):
        with (
            subprocess.Popen(["zstd", "-dc", str(archive)], stdout=subprocess.PIPE) as process,
            tarfile.open(fileobj=process.stdout, mode="r|") as source,
        ):
            _members(release, source, target)
    else:
        destination = target / next(iter(release.files.values()))
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(archive, destination)
        destination.chmod(0o755)


def _members(release: Release, source: tarfile.TarFile, target: Path) -> None:
    found = set()
    for member in source:
        name = member.name.removeprefix("./")
        pattern = next((pattern for pattern in release.files if fnmatch.fnmatch(name, pattern)), None)
        if pattern is None:
            continue
        place = release.files[pattern]
        destination = target / (place + PurePosixPath(name).name if place.endswith("/") else place)
        destination.parent.mkdir(parents=True, exist_ok=True)
        if member.issym():
            if "/" in member.linkname:
                raise ToolchainError(f"{release.url}: {name} links to {member.linkname}, outside its folder")
            destination.symlink_to(member.linkname)
        elif member.isreg():
            content = source.extractfile(member)
            assert content is not None  # regular files have content
            with destination.open("wb") as sink:
                shutil.copyfileobj(content, sink, _CHUNK)
            destination.chmod(0o755 if member.mode & 0o100 else 0o644)
        else:
            continue
        found.add(pattern)
    missing = [pattern for pattern in release.files if pattern not in found]
    if missing:
        raise ToolchainError(f"{release.url} holds no {', '.join(missing)}; the release is not laid out as expected.")
