"""A small checkout of images and a set of parts, to stage from."""

import platform
from pathlib import Path

from toolchain import images, recipes
from toolchain.tests.stand_ins import put

ELF_MACHINE = {"x86_64": 62, "aarch64": 183}[platform.machine()]


def elf(*symbols: str, machine: int = ELF_MACHINE) -> bytes:
    """Return what the checks see of a Linux program that needs these versions of library symbols."""
    header = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9) + b"\x02\x00" + machine.to_bytes(2, "little") + bytes(44)
    return header + b"\0".join([b"", *(symbol.encode() for symbol in symbols), b""])


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
            put(self.cache / name / name, elf("GLIBC_2.34", "GLIBC_2.2.5"), 0o755)
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
