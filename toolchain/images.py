"""Staging of the development images: one self-contained Docker build context each.

A context holds everything its image is made from, so that the Docker daemon needs neither a registry nor a network to
build it, and needs nothing of this machine if it is another one. Contexts lie in `.toolchain/images/<name>/`, and
`.toolchain/images/manifest.json` says of each what it is built from and a hash that names the image.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from toolchain import system
from toolchain.layout import ROOT, ToolchainError

_NEWEST_SYMBOLS = {b"GLIBC": (2, 36), b"GLIBCXX": (3, 4, 30)}
"""Newest symbol versions of the C and C++ libraries in the base image (Debian 12's libc6 and libstdc++6)."""

_ELF_MACHINES = {"x86_64": 62, "aarch64": 183}
"""e_machine in the header of a program, from the ELF specification."""

_SKIPPED = {"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".DS_Store"}


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image: its folder below `images/`, plus what parts bring."""

    base: str | None = "base"
    """Image it is built on; its Dockerfile takes that as the argument BASE."""
    contents: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Path in the context → part and file (or folder) of that part."""
    programs: tuple[str, ...] = ()
    """Which of `contents` are programs that must run in the image."""


IMAGES: Mapping[str, Image] = {
    "base": Image(base=None, contents={"base.tar": ("rootfs", "base.tar")}),
    "postgres": Image(contents={"postgres.tar": ("rootfs", "postgres.tar")}),
    "redis": Image(contents={"redis.tar": ("rootfs", "redis.tar")}),
    "garage": Image(contents={"garage": ("garage", "garage")}, programs=("garage",)),
    "caddy": Image(contents={"caddy": ("caddy", "caddy")}, programs=("caddy",)),
    "ollama": Image(
        contents={
            "root/usr/bin/ollama": ("ollama", "ollama"),
            "models/tiny/model.gguf": ("model", "model.gguf"),
        },
        programs=("root/usr/bin/ollama",),
    ),
    "probe": Image(contents={"site-packages": ("probe", "site-packages")}),
}
"""Image → what it consists of; a base before what is built on it."""

Parts = Mapping[str, Mapping[str, Path | str]]
"""Part → file name → where it is. The names are those of `toolchain.recipes.RECIPES[part].products`."""

Manifest = dict[str, dict[str, str | None]]
"""Image → `context` (folder beside the manifest), `base` (image or None) and `sha256` (64 hex digits)."""


@dataclass(frozen=True)
class _File:
    source: Path
    executable: bool
    made: bool
    """From a part, which never changes in place, so that a hard link may stand for a copy."""

    @property
    def mode(self) -> int:
        return 0o755 if self.executable else 0o644


def stage(parts: Parts, out: Path, *, sources: Path = ROOT / "images") -> Manifest:
    """Stage every image's build context below `out` and return the manifest, which lies there as manifest.json.

    A context whose content is what it was stays untouched; another one appears whole or not at all. `sha256` covers the
    path, the mode and the content of every file of the context and the base image's hash, so that equal hashes are
    equal images. Raises ToolchainError when a part is missing or cannot run in the images.
    """
    out.mkdir(parents=True, exist_ok=True)
    with _locked(out):
        try:
            before: Manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            before = {}
        manifest: Manifest = {}
        for name, image in IMAGES.items():
            files = _files(name, image, parts, sources)
            sha256 = _hash(files, manifest[image.base]["sha256"] if image.base is not None else None)
            if before.get(name, {}).get("sha256") != sha256 or not _whole(out / name, files):
                _write(out / name, files)
            manifest[name] = {"context": name, "base": image.base, "sha256": sha256}
        if manifest != before:
            draft = out / f".manifest.{os.getpid()}"
            draft.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
            draft.replace(out / "manifest.json")
    return manifest


def check_program(path: Path) -> None:
    """Raise ToolchainError unless the program at `path` can run in the images: Linux, this architecture, Debian 12."""
    content = path.read_bytes()
    machine = system.linux_machine()
    if content[:4] != b"\x7fELF" or int.from_bytes(content[18:20], "little") != _ELF_MACHINES.get(machine):
        raise ToolchainError(
            f"{path} is not a Linux program for {machine}, so it cannot run in an image."
            " Take it off PATH, or run set-up with TOOLCHAIN_ORIGINS=release,registry."
        )
    for library, newest in _NEWEST_SYMBOLS.items():
        found = {
            tuple(map(int, numbers.split(b".")))
            for numbers in re.findall(rb"\0" + library + rb"_(\d+(?:\.\d+)+)(?=\0)", content)
        }
        if found and max(found) > newest:
            needed, given = (".".join(map(str, version)) for version in (max(found), newest))
            raise ToolchainError(
                f"{path} needs {library.decode()} {needed}, but the images bring {given} (Debian 12)."
                " Let set-up reach its official release, or build it on Debian 12 or an older system."
            )


def _files(name: str, image: Image, parts: Parts, sources: Path) -> dict[str, _File]:
    """Return the context of an image: path → file, in the order of the paths."""
    folder = sources / name
    if not (folder / "Dockerfile").is_file():
        raise ToolchainError(f"{folder / 'Dockerfile'} is missing: the checkout is not whole.")
    files = {path: _File(source, os.access(source, os.X_OK), False) for path, source in _walk(folder)}
    for path, (part, product) in image.contents.items():
        try:
            found = Path(parts[part][product])
        except KeyError:
            raise ToolchainError(
                f"image {name} needs {product} of the part {part}; given are {', '.join(sorted(parts)) or 'none'}."
            ) from None
        if not found.exists():
            raise ToolchainError(f"image {name} needs {found}, which is not there: run `make images` to make it again.")
        if path in image.programs:
            check_program(found)
            files[path] = _File(found, True, True)
        elif found.is_dir():
            inner = {f"{path}/{below}": source for below, source in _walk(found)}
            files |= {below: _File(source, os.access(source, os.X_OK), True) for below, source in inner.items()}
        else:
            files[path] = _File(found, False, True)
    # The official release of Ollama has variants of its backend for newer processors beside the program.
    for product, source in parts.get("ollama", {}).items() if name == "ollama" else ():
        if product.startswith("lib/ollama/"):
            files[f"root/usr/{product}"] = _File(Path(source), True, True)
    return dict(sorted(files.items()))


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if path.is_file() and path.suffix != ".pyc" and _SKIPPED.isdisjoint(relative.parts):
            yield str(PurePosixPath(relative)), path


def _hash(files: Mapping[str, _File], base: str | None) -> str:
    digest = hashlib.sha256((base or "").encode() + b"\0")
    for path, file in files.items():
        with file.source.open("rb") as source:
            content = hashlib.file_digest(source, "sha256").hexdigest()
        digest.update(f"{path}\0{file.mode:o}\0{content}\0".encode())
    return digest.hexdigest()


def _whole(folder: Path, files: Mapping[str, _File]) -> bool:
    """Tell whether a staged context still has exactly these files, in these sizes and modes."""
    there = {}
    for path in folder.rglob("*"):
        if not path.is_dir():
            facts = path.lstat()
            there[str(PurePosixPath(path.relative_to(folder)))] = (facts.st_size, facts.st_mode & 0o777)
    return there == {path: (file.source.stat().st_size, file.mode) for path, file in files.items()}


def _write(folder: Path, files: Mapping[str, _File]) -> None:
    draft, old = (folder.with_name(f".{folder.name}.{kind}") for kind in ("new", "old"))
    for leftover in (draft, old):
        shutil.rmtree(leftover, ignore_errors=True)
    for path, file in files.items():
        target = draft / path
        target.parent.mkdir(parents=True, exist_ok=True)
        _place(file, target)
    # COPY takes a folder's mode over, and the one who runs this may keep new folders to themselves.
    for directory, _, _ in os.walk(draft):
        Path(directory).chmod(0o755)
    if folder.exists():
        folder.rename(old)
    draft.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _place(file: _File, target: Path) -> None:
    if file.made and file.source.stat().st_mode & 0o777 == file.mode:
        with contextlib.suppress(OSError):  # another file system, or one without hard links
            os.link(file.source.resolve(), target)
            return
    shutil.copyfile(file.source, target)
    target.chmod(file.mode)


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keep a second run out until this one is done."""
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
