"""Parts and how each is obtained: already installed, else an official release, else built from the package registries.

A part is a folder of files in the cache, under a hash of what it is made from. It appears there whole, by one rename,
or not at all: a run that is killed leaves only a work folder, which the next run removes. One lock a part keeps two
runs from building the same thing; a build's own processes hold it too, so what outlives a killed run is waited for.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from toolchain import releases, system
from toolchain.layout import ROOT, ToolchainError, cache_root
from toolchain.locks import locked
from toolchain.progress import Progress

INSTALLED = "installed"
RELEASE = "official release"
REGISTRY = "built from the registries"

_ORIGINS = {"installed": INSTALLED, "release": RELEASE, "registry": REGISTRY}
_RECORD = "part.json"


def allowed_origins() -> tuple[str, ...]:
    """Return the origins to try, in order; `TOOLCHAIN_ORIGINS` narrows or reorders them."""
    text = os.environ.get("TOOLCHAIN_ORIGINS", "installed,release,registry")
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in _ORIGINS]
    if unknown or not names:
        raise ToolchainError(
            f"TOOLCHAIN_ORIGINS is {text!r}; give one or more of installed, release, registry, separated by commas."
        )
    return tuple(_ORIGINS[name] for name in names)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One thing to obtain."""

    name: str
    version: str
    files: tuple[str, ...]
    """Files the folder must hold, the main one first."""
    platform: str
    find_installed: Callable[[], dict[str, Path] | None] = lambda: None
    """Return an installed copy as file → path, or None."""
    release: Callable[[], releases.Release] | None = None
    """Return the official release; raises NotAvailable where there is none. None for what nobody releases."""
    build: Callable[[Path], Sequence[str]] | None = None
    """Return the command that builds the files into a folder."""
    prepare_build: Callable[[Progress], None] = lambda progress: None
    """Make the machine ready for the build, or say in one line what is missing."""
    inputs: Callable[[], str] = lambda: ""
    """Return a hash of what the registry build is made from."""
    shared: "Part | None" = None
    """Another part whose main file is this part's registry build: one plugin binary serves several providers."""

    @property
    def title(self) -> str:
        """What people call it: name and version."""
        return f"{self.name} {self.version}".strip()

    def origins(self) -> tuple[str, ...]:
        """Return the origins to try, in order.

        `TOOLCHAIN_ORIGINS` chooses where there is a choice. What nobody releases, and so nobody has installed, is built
        from the registries whatever it says.
        """
        allowed = allowed_origins()
        return allowed if self.release is not None else (REGISTRY,)

    def is_released(self) -> bool:
        """Tell whether there is an official release that could be proved and may be used."""
        if RELEASE not in self.origins() or self.release is None:
            return False
        try:
            release = self.release()
        except releases.NotAvailable:
            return False
        return bool(release.sha256 or release.checksum_urls)

    def release_key(self) -> str:
        """Return the cache key of the official release."""
        pinned = ""
        if self.release is not None:
            with contextlib.suppress(releases.NotAvailable):
                pinned = self.release().sha256 or ""
        return _key("release", self.name, self.version, self.platform, pinned)

    def registry_key(self) -> str:
        """Return the cache key of the registry build."""
        if self.shared is not None:
            return self.shared.registry_key()
        return _key("registry", self.name, self.version, self.platform, self.inputs())


@dataclass(frozen=True, kw_only=True)
class Obtained:
    """A part that is there."""

    name: str
    version: str
    origin: str
    """One of INSTALLED, RELEASE, REGISTRY."""
    files: dict[str, str]
    """File name → absolute path."""
    sha256: str
    """Of the main file, 64 hex digits."""
    key: str
    """Cache key; empty for an installed part."""
    proof: str = ""
    """What an official release was verified by, "<algorithm> <sum>"."""

    @property
    def main(self) -> Path:
        """Path of the main file."""
        return Path(next(iter(self.files.values())))


def _key(*fields: str) -> str:
    return hashlib.sha256("\0".join(fields).encode()).hexdigest()[:20]


@dataclass
class Workshop:
    """Obtains parts into a cache."""

    progress: Progress
    cache: Path = field(default_factory=cache_root)
    logs: Path | None = None
    downloader: releases.Downloader = field(init=False)
    _archives: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.downloader = releases.Downloader(self.progress)

    def prepare(self, part: Part) -> None:
        """Make the machine ready to build `part` where nothing but a build can bring it.

        `obtain` does so too, but whoever needs several parts is to learn that a compiler is missing before the first
        one has been compiled for minutes. Whether a release can be reached is not asked here.
        """
        if REGISTRY in part.origins() and not part.is_released() and self._at_hand(part) is None:
            (part.shared or part).prepare_build(self.progress)

    def obtain(self, part: Part) -> Obtained:
        """Return `part`, from the first origin that has it.

        What the cache already holds of an allowed origin is taken before anything is downloaded or built.
        """
        if found := self._at_hand(part):
            return found
        origins = part.origins()
        with self._lock(part.name) as descriptor:
            if found := self._at_hand(part):  # another run may have finished it while this one waited
                return found
            refusals = []
            for origin in origins:
                try:
                    if origin == RELEASE and part.release is not None:
                        return self._from_release(part)
                    if origin == REGISTRY:
                        return self._from_registry(part, descriptor)
                except releases.NotAvailable as reason:
                    refusals.append(str(reason))
                    if not isinstance(reason, releases.OutOfReach):
                        self.progress.say(f"{part.title}: no official release here: {reason}")
            raise ToolchainError(
                f"{part.title} could not be had from {' or '.join(origins)}."
                + "".join(f"\n  {reason}" for reason in refusals)
            )

    def tidy(self) -> None:
        """Remove the archives this run has unpacked."""
        for archive in self._archives:
            shutil.rmtree(archive.parent, ignore_errors=True)
        self._archives.clear()

    def _at_hand(self, part: Part) -> Obtained | None:
        keys = {RELEASE: part.release_key, REGISTRY: part.registry_key}
        origins = part.origins()
        if INSTALLED in origins and (found := self._installed(part)):
            return found
        for origin in origins:
            if origin != INSTALLED and (found := self._cached(part, origin, keys[origin]())):
                return found
        return None

    def _installed(self, part: Part) -> Obtained | None:
        files = part.find_installed()
        if files is None:
            return None
        return Obtained(
            name=part.name,
            version=part.version,
            origin=INSTALLED,
            files={name: str(path) for name, path in files.items()},
            sha256=_sha256(files[part.files[0]]),
            key="",
        )

    def folder(self, part: Part, key: str) -> Path:
        """Return where `part` lies in the cache under `key`, whether or not it is there."""
        return self.cache / "parts" / f"{part.name}-{key}"

    def _cached(self, part: Part, origin: str, key: str) -> Obtained | None:
        if origin == REGISTRY and part.shared is not None:
            inner = self._cached(part.shared, origin, key)
            return inner and _through(part, inner)
        folder = self.folder(part, key)
        try:
            record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        if any(not (folder / name).exists() for name in part.files):
            # Somebody took files out by hand; a part with a hole is no part.
            return None
        return Obtained(
            name=part.name,
            version=part.version,
            origin=record["origin"],
            files={name: str(folder / name) for name in (*part.files, *record["more"])},
            sha256=record["sha256"],
            key=key,
            proof=record.get("proof", ""),
        )

    def _from_release(self, part: Part) -> Obtained:
        assert part.release is not None  # the caller has looked
        release = part.release()
        # By URL and not by part: the engine and its language host come in one archive.
        archive, proof = self.downloader.fetch(release, self.cache / "downloads" / _key(release.url))
        self._archives.add(archive)
        with self._work(part, part.release_key()) as folder:
            releases.unpack(release, archive, folder)
            self._finish(part, folder, RELEASE, part.release_key(), proof)
        return self._complete(part, RELEASE, part.release_key())

    def _from_registry(self, part: Part, descriptor: int) -> Obtained:
        if part.shared is not None:
            key = part.registry_key()
            with self._lock(part.shared.name) as inner_descriptor:
                inner = self._cached(part.shared, REGISTRY, key) or self._from_registry(part.shared, inner_descriptor)
            return _through(part, inner)
        if part.build is None:
            raise ToolchainError(
                f"{part.title} cannot be built from the package registries, and its official release"
                " is out of reach. Install it, or point TOOLCHAIN_RELEASE_MIRROR at a mirror"
                " (docs/mirrors-and-air-gap.md)."
            )
        key = part.registry_key()
        part.prepare_build(self.progress)
        log = None
        if self.logs is not None:
            self.logs.mkdir(parents=True, exist_ok=True)
            log = self.logs / f"{part.name}.log"
        with self._work(part, key) as folder:
            with self.progress.step(f"{part.title}: building from the registries") as step:
                system.run(part.build(folder), step=step, log=log, cwd=ROOT, pass_fds=[descriptor])
            self._finish(part, folder, REGISTRY, key, "")
        return self._complete(part, REGISTRY, key)

    def _complete(self, part: Part, origin: str, key: str) -> Obtained:
        found = self._cached(part, origin, key)
        assert found is not None  # it was renamed into place just now, under the part's lock
        return found

    def _finish(self, part: Part, folder: Path, origin: str, key: str, proof: str) -> None:
        missing = [name for name in part.files if not (folder / name).exists()]
        if missing:
            raise ToolchainError(f"{part.title} ({origin}) came without {', '.join(missing)}.")
        record = {
            "part": part.name,
            "version": part.version,
            "platform": part.platform,
            "origin": origin,
            "sha256": _sha256(folder / part.files[0]),
            "proof": proof,
            "more": sorted(
                str(path.relative_to(folder))
                for path in folder.rglob("*")
                if not path.is_dir() and not any(path.is_relative_to(folder / name) for name in part.files)
            ),
        }
        (folder / _RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        target = self.folder(part, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            shutil.rmtree(target)
        folder.rename(target)

    @contextlib.contextmanager
    def _work(self, part: Part, key: str) -> Iterator[Path]:
        """Yield an empty folder to make the part in; what an interrupted run left is removed first."""
        works = self.cache / "work"
        works.mkdir(parents=True, exist_ok=True)
        for leftover in works.glob(f"{part.name}-[0-9a-f]*"):
            remove(leftover)
        folder = works / f"{part.name}-{key}"
        folder.mkdir()
        yield folder
        if folder.exists():
            remove(folder)

    def _lock(self, name: str) -> contextlib.AbstractContextManager[int]:
        return locked(self.cache / "locks" / f"{name}.lock", name, self.progress)


def _through(part: Part, inner: Obtained) -> Obtained:
    return replace(inner, name=part.name, version=part.version, files={part.files[0]: str(inner.main)})


def remove(folder: Path) -> None:
    """Remove a folder, read-only folders in it too."""
    # The Go module cache and some archives make folders read-only, which rmtree cannot empty.
    folder.chmod(0o755)
    for root, names, _ in os.walk(folder):
        for name in names:
            path = Path(root) / name
            if not path.is_symlink():
                path.chmod(0o755)
    shutil.rmtree(folder)


def _sha256(path: Path) -> str:
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(path.rglob("*")):
            if file.is_file():
                digest.update(str(file.relative_to(path)).encode() + b"\0" + bytes.fromhex(_sha256(file)))
        return digest.hexdigest()
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def tree_hash(root: Path, files: Sequence[Path], *more: str) -> str:
    """Return a hash over the paths (relative to `root`), executable bits and contents of `files`, and more strings."""
    digest = hashlib.sha256()
    for extra in more:
        digest.update(extra.encode() + b"\0")
    for path in sorted(files):
        digest.update(str(path.relative_to(root)).encode() + b"\0")
        digest.update(b"x" if os.access(path, os.X_OK) else b"-")
        digest.update(bytes.fromhex(_sha256(path)))
    return digest.hexdigest()
