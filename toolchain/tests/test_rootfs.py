"""The root file systems of the development images: where their packages come from, and where they are made."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from toolchain import recipes, system
from toolchain.layout import ROOT, ToolchainError
from toolchain.tests.stand_ins import put


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
