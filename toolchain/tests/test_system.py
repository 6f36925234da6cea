"""Packages of the machine, and commands run on it."""

from pathlib import Path

import pytest

from toolchain import system
from toolchain.layout import ToolchainError
from toolchain.tests.stand_ins import program, quiet


def test_missing_package_lists_are_fetched_once_needed(bare: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    program(
        bare,
        "apt-get",
        f"""\
        echo "$1 $DEBIAN_FRONTEND" >> {log}
        [ "$1" = update ] && : > {tmp_path}/lists && exit
        [ -e {tmp_path}/lists ]""",
    )
    system.apt_install(["x"], "a test", quiet())
    system.apt_install(["y"], "a test", quiet())
    assert [line.split() for line in log.read_text().splitlines()] == [
        ["install", "noninteractive"],
        ["update", "noninteractive"],
        ["install", "noninteractive"],
        ["install", "noninteractive"],
    ]


def test_the_version_of_a_package_is_that_which_would_be_installed(bare: Path) -> None:
    program(
        bare,
        "apt-cache",
        """\
        [ "$1 $2" = "show --no-all-versions" ] || exit 1
        [ "$3" = tool ] && printf 'Package: tool\\nVersion: 1.96.0+dfsg1-1\\nDepends: x (= 2)\\n'""",
    )
    assert system.apt_candidate("tool") == "1.96.0+dfsg1-1"
    assert system.apt_candidate("other") == ""


def test_packages_are_found_by_name(bare: Path) -> None:
    body = r"""[ "$*" = 'search --names-only ^cargo-[0-9.]+$' ] && printf 'cargo-1.9 - Rust\ncargo-1.10 - Rust\n'"""
    program(bare, "apt-cache", body)
    assert system.apt_names("^cargo-[0-9.]+$") == ["cargo-1.9", "cargo-1.10"]
    assert system.apt_names("^other$") == []


def test_what_is_installed_is_never_removed_for_a_package(bare: Path, tmp_path: Path) -> None:
    program(bare, "apt-get", f'echo "$@" > {tmp_path}/log')
    system.apt_install(["x"], "a test", quiet())
    assert "--no-remove" in (tmp_path / "log").read_text()


def test_whether_a_package_can_be_installed_is_asked_without_installing_it(bare: Path) -> None:
    program(
        bare,
        "apt-get",
        """\
        case "$*" in install*--no-remove*--simulate*) ;; *) exit 1 ;; esac
        for package in "$@"; do :; done
        [ "$package" = harmless ] || exit 100""",
    )
    assert system.apt_accepts("harmless")
    assert not system.apt_accepts("harmful")


def test_a_failing_command_is_told_with_its_last_lines() -> None:
    with pytest.raises(ToolchainError, match="status 4") as caught:
        system.run(["sh", "-c", "seq 100; echo the reason >&2; exit 4"])
    assert "the reason" in str(caught.value)
    assert "\n50\n" not in str(caught.value)
