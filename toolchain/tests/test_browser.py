"""The browser of the tests: what is found, what is installed, and what is said where nothing can be."""

import io
from pathlib import Path

import pytest

from toolchain import browser, setup, stamps, system, venvs
from toolchain.browser import browser_programs
from toolchain.layout import Layout, ToolchainError
from toolchain.progress import Progress
from toolchain.tests.stand_ins import program


def ensure() -> str:
    """Return what is said meanwhile."""
    said = io.StringIO()
    browser.ensure(Progress(said))
    return said.getvalue()


@pytest.fixture
def debian(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Debian with an apt that knows the packages once it has fetched its lists; the folder of PATH."""
    monkeypatch.setattr(system, "is_root_on_debian", lambda: True)
    packages = {package: names[0] for package, (_, names) in browser.PACKAGES.items()}
    known = "|".join(packages)
    program(bare, "apt-cache", f'[ -e {tmp_path}/lists ] && case "$3" in {known}) echo "Version: 1.0" ;; esac')
    installing = "\n".join(
        f'case " $* " in *" {package} "*) echo "#!/bin/sh" > {bare}/{name}; /bin/chmod +x {bare}/{name} ;; esac'
        for package, name in packages.items()
    )
    program(
        bare, "apt-get", f'echo "$*" >> {tmp_path}/log\n[ "$1" = update ] && : > {tmp_path}/lists && exit\n{installing}'
    )
    return bare


def test_what_is_missing_is_installed_on_debian(debian: Path, tmp_path: Path) -> None:
    program(debian, "certutil", "exit")
    assert "cannot run" not in ensure()
    asked = (tmp_path / "log").read_text().splitlines()
    assert asked[0] == "update"
    assert asked[1].startswith("install ") and asked[1].endswith(" chromium chromium-driver")
    assert browser_programs() == {
        "browser": debian / "chromium",
        "driver": debian / "chromedriver",
        "certutil": debian / "certutil",
    }


def test_nothing_is_asked_where_nothing_is_missing(debian: Path, tmp_path: Path) -> None:
    for name in ("google-chrome", "chromedriver", "certutil"):
        program(debian, name, "exit")
    assert ensure() == ""
    assert not (tmp_path / "log").exists()
    assert browser_programs()["browser"] == debian / "google-chrome"


def test_a_debian_without_such_a_package_is_told_what_else_will_do(debian: Path, tmp_path: Path) -> None:
    """Ubuntu: its Chromium is a snap."""
    program(debian, "apt-cache", 'case "$3" in libnss3-tools) echo "Version: 1.0" ;; esac')
    said = ensure()
    assert "chromium or google-chrome-stable or google-chrome or chrome (Debian: chromium)" in said
    assert "certutil" not in said.partition("cannot run")[2]
    assert browser.installed() == [debian / "certutil"]


def test_elsewhere_it_is_said_and_set_up_goes_on(bare: Path) -> None:
    program(bare, "certutil", "exit")
    said = ensure()
    assert "Tests in a browser cannot run, because not on PATH is: chromium or " in said
    with pytest.raises(ToolchainError, match=r"chromedriver \(Debian: chromium-driver\)\. Install it and run"):
        browser_programs()


def test_set_up_for_tests_sees_to_the_browser_and_again_when_it_is_gone(
    layout: Layout, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(layout: Layout, progress: Progress, *, dev: bool = False) -> Path:
        (layout.venv_dev / "bin").mkdir(parents=True, exist_ok=True)
        (layout.venv_dev / "bin" / "python").touch()
        return layout.venv_dev

    monkeypatch.setattr(venvs, "ensure", made)
    asked: list[int] = []
    monkeypatch.setattr(browser, "ensure", lambda progress: asked.append(1))
    program(bare, "chromium", "exit")
    for _ in range(2):
        setup.setup(layout, Progress(io.StringIO()), base=False, dev=True)
    assert len(asked) == 1
    assert stamps.current(layout, "dev", stamps.dev_fingerprint(layout))
    (bare / "chromium").unlink()
    assert not stamps.current(layout, "dev", stamps.dev_fingerprint(layout))
