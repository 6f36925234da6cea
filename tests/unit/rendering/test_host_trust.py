"""Whom a host trusts: the scripts themselves, on a host that is a folder. This machine's own trust is not touched."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from rendering import host_trust
from testing.certificates import issue
from testing.commands import calls, fake_command, path_with

STACK: Final = "reflector-dev"
NOW: Final = datetime.now(UTC)
FIRST, SECOND, THIRD = (issue(f"root {number}", now=NOW, ca=True).pem.decode() for number in range(3))
DEBIAN: Final = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nID=debian\n'
CERTS: Final = "etc/docker/certs.d"
REGISTRY: Final = "registry.example.com:5000"
IPV6: Final = "[2001:db8::5]:5000"

# What Debian's does, as far as it is of interest here: links beside the bundle, and those to what is gone stay.
UPDATE_CA_CERTIFICATES: Final = r"""#!/bin/sh
set -eu
echo "$0 $*" >> "$HOST/calls"
mkdir -p "$HOST/etc/ssl/certs"
cd "$HOST/etc/ssl/certs"
if [ "${1:-}" = --fresh ]; then find . -type l -delete; fi
cp "$HOST/public.crt" new
for file in "$HOST"/usr/local/share/ca-certificates/*.crt; do
    [ -f "$file" ] || continue
    ln -sf "$file" "$(basename "$file" .crt).pem"
    cat "$file" >> new
done
mv new ca-certificates.crt
echo "rehash: warning: skipping ca-certificates.crt" >&2
"""
# What those with p11-kit do: a bundle of all that is in the folder, whatever it is called.
UPDATE_CA_TRUST: Final = r"""#!/bin/sh
set -eu
echo "$0 $*" >> "$HOST/calls"
mkdir -p "$(dirname "$HOST/$BUNDLE")"
cp "$HOST/public.crt" "$HOST/$BUNDLE"
for file in "$HOST/$ANCHORS"/*; do
    [ ! -f "$file" ] || { echo "# $file"; cat "$file"; } >> "$HOST/$BUNDLE"
done
"""


@dataclass(frozen=True)
class Host:
    """A host that is a folder."""

    root: Path
    path: str
    environment: Mapping[str, str]

    def run(
        self, task: str, certificates: Sequence[str] = (), *, stack: str = STACK, registries: Sequence[str] = (),
        names: Sequence[str] = (), **more: str,
    ) -> "subprocess.CompletedProcess[str]":  # fmt: skip
        """Do a task there as `on_host.sh` has it done."""
        names = names or [f"authority-{number}" for number in range(len(certificates))]
        return subprocess.run(
            ["sh", "-c", host_trust.INSIDE],
            env={
                "PATH": self.path, "ROOT": str(self.root), "HOST": str(self.root), "TASK": task, "STACK": stack,
                "AUTHORITIES": host_trust.files(stack, names, certificates),
                "REGISTRIES": "".join(f"{one}\n" for one in registries),
                **self.environment, **more,
            },
            input=host_trust.joined(certificates), capture_output=True, text=True, check=False,
        )  # fmt: skip

    def does(self, task: str, certificates: Sequence[str] = (), **more: object) -> list[str]:
        """Do it, and return the lines it prints."""
        done = self.run(task, certificates, **more)  # type: ignore[arg-type]
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    @property
    def store(self) -> dict[str, str]:
        """What is in the folder of its own authorities."""
        folder = self.root / self.environment["ANCHORS"]
        return {file.name: file.read_text() for file in folder.iterdir()} if folder.is_dir() else {}

    @property
    def bundle(self) -> str:
        return (self.root / self.environment["BUNDLE"]).read_text()

    @property
    def calls(self) -> int:
        log = self.root / "calls"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def files(self) -> dict[str, str]:
        """Everything there is but what the tools remember, with the targets of links."""
        return {
            str(file.relative_to(self.root)): str(file.readlink()) if file.is_symlink() else file.read_text()
            for file in sorted(self.root.rglob("*"))
            if file.name != "calls" and (file.is_symlink() or file.is_file())
        }


SYSTEMS: Final[Mapping[str, tuple[str, str, str, str]]] = {
    # What os-release says → the tool, and where the system has its own authorities and its bundle.
    DEBIAN: ("update-ca-certificates", "usr/local/share/ca-certificates", "etc/ssl/certs/ca-certificates.crt", ""),
    'ID=linuxmint\nID_LIKE="ubuntu debian"\nPRETTY_NAME="Linux Mint"\n': (
        "update-ca-certificates", "usr/local/share/ca-certificates", "etc/ssl/certs/ca-certificates.crt", ""
    ),
    "ID=alpine\n": (
        "update-ca-certificates", "usr/local/share/ca-certificates", "etc/ssl/certs/ca-certificates.crt", ""
    ),
    'ID="rocky"\nID_LIKE="rhel centos fedora"\n': (
        "update-ca-trust", "etc/pki/ca-trust/source/anchors", "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "p11"
    ),
    'ID="opensuse-leap"\nID_LIKE="suse opensuse"\n': (
        "update-ca-certificates", "etc/pki/trust/anchors", "var/lib/ca-certificates/ca-bundle.pem", "p11"
    ),
    "ID=arch\n": (
        "update-ca-trust", "etc/ca-certificates/trust-source/anchors",
        "etc/ca-certificates/extracted/tls-ca-bundle.pem", "p11",
    ),
}  # fmt: skip


def host_of(folder: Path, release: str = DEBIAN, *, tool: bool = True) -> Host:
    """Return a host that says of itself what `release` says."""
    root = folder / "host"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "os-release").write_text(release)
    (root / "public.crt").write_text(THIRD)
    name, anchors, bundle, kind = SYSTEMS.get(release, SYSTEMS[DEBIAN])
    tools = folder / "tools"
    tools.mkdir()
    if tool:
        (tools / name).write_text(UPDATE_CA_TRUST if kind else UPDATE_CA_CERTIFICATES)
        (tools / name).chmod(0o755)
    return Host(root, f"{tools}:/usr/bin:/bin", {"ANCHORS": anchors, "BUNDLE": bundle})


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return host_of(tmp_path)


def fingerprint(pem: str) -> str:
    """Return what the tool of OpenSSL says, which has nothing to do with ours."""
    said = subprocess.run(
        ["openssl", "x509", "-noout", "-fingerprint", "-sha256"], input=pem, capture_output=True, text=True, check=True
    ).stdout
    return said.partition("=")[2].strip().replace(":", "").lower()


# --- Names ------------------------------------------------------------------------------------------------------------


def test_a_file_is_called_by_stack_authority_and_fingerprint_and_each_is_there_once() -> None:
    lines = host_trust.files(STACK, ["stack", "corp", "again"], [FIRST, SECOND + THIRD, FIRST]).splitlines()
    expected = [("stack", FIRST), ("corp", SECOND), ("corp", THIRD)]
    assert lines == [f"{STACK}_{name}_{fingerprint(one)[:8]}.crt {fingerprint(one)}" for name, one in expected]


# --- The store --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", SYSTEMS)
def test_each_system_gets_them_where_it_looks_and_loses_them_again(tmp_path: Path, release: str) -> None:
    host = host_of(tmp_path, release)
    host.does("store", [FIRST, SECOND])
    names = [f"{STACK}_authority-0_{fingerprint(FIRST)[:8]}.crt", f"{STACK}_authority-1_{fingerprint(SECOND)[:8]}.crt"]
    assert host.store == dict(zip(names, (FIRST, SECOND), strict=True))
    assert all(one in host.bundle for one in (FIRST, SECOND, THIRD))
    host.does("store")
    assert host.store == {}
    assert FIRST not in host.bundle
    assert THIRD in host.bundle


def test_a_second_run_changes_nothing(host: Host) -> None:
    host.does("store", [FIRST])
    before = host.files()
    inode = next((host.root / host.environment["ANCHORS"]).iterdir()).stat().st_ino
    host.does("store", [FIRST])
    assert host.files() == before
    assert next((host.root / host.environment["ANCHORS"]).iterdir()).stat().st_ino == inode


def test_the_next_generation_stands_beside_the_one_before_until_that_is_retired(host: Host) -> None:
    host.does("store", [FIRST])
    host.does("store", [FIRST, SECOND])
    assert FIRST in host.bundle and SECOND in host.bundle
    host.does("store", [SECOND], names=["authority-1"])
    assert [*host.store.values()] == [SECOND]
    assert FIRST not in host.bundle


def test_no_link_to_what_is_gone_is_left(host: Host) -> None:
    host.does("store", [FIRST, SECOND])
    host.does("store", [FIRST])
    links = [file for file in (host.root / "etc/ssl/certs").iterdir() if file.is_symlink()]
    assert [link.exists() for link in links] == [True]


def test_what_an_interrupted_run_took_out_of_the_folder_alone_is_not_trusted_any_more(host: Host) -> None:
    host.does("store", [FIRST, SECOND])
    (host.root / host.environment["ANCHORS"] / f"{STACK}_authority-1_{fingerprint(SECOND)[:8]}.crt").unlink()
    host.does("store", [FIRST])
    assert SECOND not in host.bundle
    assert all(file.exists() for file in (host.root / "etc/ssl/certs").iterdir())


def test_a_file_that_was_changed_is_put_right(host: Host) -> None:
    host.does("store", [FIRST])
    (file,) = (host.root / host.environment["ANCHORS"]).iterdir()
    file.write_text(SECOND)
    host.does("store", [FIRST])
    assert file.read_text() == FIRST
    assert SECOND not in host.bundle


@pytest.mark.parametrize(
    "name",
    ["corp.crt", "reflector-dev.crt", f"{STACK}-2_stack_01234567.crt", f"{STACK}_x_stack_01234567.crt",
     f"{STACK}_stack_0123.crt", f"{STACK}_notes.txt"],
)  # fmt: skip
def test_files_of_others_are_left_alone_whatever_they_are_called(host: Host, name: str) -> None:
    folder = host.root / host.environment["ANCHORS"]
    folder.mkdir(parents=True)
    (folder / name).write_text(SECOND)
    host.does("store", [FIRST])
    host.does("store")
    assert host.store == {name: SECOND}


def test_a_system_nobody_here_knows_is_refused_by_its_name(tmp_path: Path) -> None:
    host = host_of(tmp_path, 'ID=nixos\nPRETTY_NAME="NixOS 24.05"\n')
    done = host.run("store", [FIRST])
    assert (done.returncode, done.stderr) == (1, "the store of NixOS 24.05 (nixos) is not known here\n")
    assert host.store == {}


def test_a_system_that_does_not_say_what_it_is_is_refused(tmp_path: Path) -> None:
    host = host_of(tmp_path)
    (host.root / "etc" / "os-release").unlink()
    done = host.run("store", [FIRST])
    assert (done.returncode, done.stderr) == (
        1, "the store of a system without os-release (no name) is not known here\n"
    )  # fmt: skip


def test_a_system_without_its_tool_gets_no_file(tmp_path: Path) -> None:
    host = host_of(tmp_path, tool=False)
    done = host.run("store", [FIRST])
    assert done.returncode == 1
    assert done.stderr == "update-ca-certificates is not installed on Debian GNU/Linux 12 (bookworm) (debian)\n"
    assert host.store == {}
    host.does("store")


def test_a_tool_that_fails_or_leaves_something_out_is_not_taken_for_success(host: Host) -> None:
    tool = Path(host.path.split(":")[0]) / "update-ca-certificates"
    tool.write_text("#!/bin/sh\necho no space left >&2\nexit 3\n")
    done = host.run("store", [FIRST])
    assert done.returncode == 1
    assert done.stderr.endswith("(debian): no space left\n")
    tool.write_text("#!/bin/sh\necho 0 added\n")
    done = host.run("store", [FIRST])
    assert done.returncode == 1
    assert "has not put into /etc/ssl/certs/ca-certificates.crt: reflector-dev_authority-0_" in done.stderr


def test_a_certificate_that_is_not_the_one_that_was_named_is_refused(host: Host) -> None:
    named = host_trust.files(STACK, ["stack"], [SECOND])
    done = host.run("store", [FIRST], AUTHORITIES=named)
    assert done.returncode == 1
    assert done.stderr.startswith(f"no certificate with the fingerprint {fingerprint(SECOND)} was given for")
    assert host.store == {}


# --- Registries -------------------------------------------------------------------------------------------------------


def test_registries_get_one_file_each_and_lose_it_again(host: Host) -> None:
    host.does("registries", [FIRST, SECOND], registries=[REGISTRY, IPV6])
    for address in (REGISTRY, IPV6):
        folder = host.root / CERTS / address
        assert {file.name: file.read_text() for file in folder.iterdir()} == {f"{STACK}.crt": FIRST + SECOND}
    host.does("registries", [FIRST], registries=[IPV6])
    assert [folder.name for folder in (host.root / CERTS).iterdir()] == [IPV6]
    assert (host.root / CERTS / IPV6 / f"{STACK}.crt").read_text() == FIRST
    host.does("registries")
    assert not (host.root / CERTS).exists()


def test_a_folder_with_files_of_others_stays_with_them(host: Host) -> None:
    folder = host.root / CERTS / REGISTRY
    folder.mkdir(parents=True)
    for name in ("ca.crt", "reflector-dev-2.crt"):
        (folder / name).write_text(THIRD)
    host.does("registries", [FIRST], registries=[REGISTRY])
    assert len([*folder.iterdir()]) == 3
    host.does("registries")
    assert {file.name: file.read_text() for file in folder.iterdir()} == {"ca.crt": THIRD, "reflector-dev-2.crt": THIRD}


# --- A look -----------------------------------------------------------------------------------------------------------


def test_where_all_is_right_a_look_finds_nothing_and_changes_nothing(host: Host) -> None:
    host.does("store", [FIRST, SECOND])
    host.does("registries", [FIRST, SECOND], registries=[REGISTRY, IPV6])
    before = host.files()
    found = host.does(
        "look", [FIRST, SECOND], registries=[REGISTRY, IPV6], STORE="yes", SYSTEM="yes", FOLDERS=f"{REGISTRY}\n{IPV6}"
    )
    assert found == []
    assert host.files() == before


def test_what_is_gone_or_changed_is_found(host: Host) -> None:
    host.does("store", [FIRST, SECOND])
    host.does("registries", [FIRST, SECOND], registries=[REGISTRY, IPV6])
    names = sorted(host.store)
    (host.root / host.environment["ANCHORS"] / names[0]).unlink()
    (host.root / CERTS / REGISTRY / f"{STACK}.crt").write_text(FIRST)
    found = host.does("look", [FIRST, SECOND], registries=[REGISTRY, IPV6], STORE="yes")
    assert found == [f"store {names[0]}", f"registry {REGISTRY}"]


def test_what_is_in_the_folder_and_not_in_the_bundle_is_found(host: Host) -> None:
    host.does("store", [FIRST])
    (host.root / host.environment["BUNDLE"]).write_text(THIRD)
    assert host.does("look", [FIRST], STORE="yes") == [f"store {name}" for name in host.store]


def test_what_stops_docker_is_found_before_it_does(host: Host) -> None:
    folder = host.root / CERTS / IPV6
    folder.mkdir(parents=True)
    for name in ("ca.cert", "client.key", "good.cert", "good.key", "ca.crt"):
        (folder / name).touch()
    found = host.does("look", FOLDERS=f"{REGISTRY}\n{IPV6}")
    assert found == [f"client /{CERTS}/{IPV6}/ca.cert ca.key", f"client /{CERTS}/{IPV6}/client.key client.cert"]


def test_a_look_tells_a_system_that_is_not_known_and_a_tool_that_is_missing(tmp_path: Path) -> None:
    unknown = host_of(tmp_path / "unknown", "ID=flatcar\nPRETTY_NAME='Flatcar 3815'\n")
    assert unknown.does("look", SYSTEM="yes") == ["system Flatcar 3815 (flatcar)"]
    assert unknown.does("look", FOLDERS=REGISTRY) == [], "for registries alone no system need be known"
    bare = host_of(tmp_path / "bare", "ID=alpine\n", tool=False)
    assert bare.does("look", SYSTEM="yes") == ["tool update-ca-certificates a system without os-release (alpine)"]


# --- How it gets there ------------------------------------------------------------------------------------------------


def on_host(folder: Path, **docker: object) -> tuple[list[list[str]], "subprocess.CompletedProcess[str]"]:
    """Run what is run beside the engine, with a `docker` that answers this; return what that was called with."""
    answers = {key.replace("_", " "): value for key, value in docker.items()}
    log = fake_command(folder, "docker", answers)
    call = host_trust.call("look", host_trust.READS_ALL, STACK)
    done = subprocess.run(
        ["sh", "-c", host_trust.ON_HOST],
        env={"PATH": path_with(folder), **call}, input="given", capture_output=True, text=True, check=False,
    )  # fmt: skip
    return [call["arguments"] for call in calls(log)], done


def test_the_hosts_own_tools_are_run_with_its_files_and_little_else(tmp_path: Path) -> None:
    called, done = on_host(tmp_path, image_inspect="[]", run="said")
    assert (done.returncode, done.stdout) == (0, "said")
    run = called[-1]
    assert run[-6:] == [host_trust.IMAGE, "chroot", "/host", "/bin/sh", "-c", host_trust.INSIDE]
    assert [run[index + 1] for index, one in enumerate(run) if one == "--volume"] == ["/:/host:ro"]
    for pair in (("--cap-drop", "ALL"), ("--network", "none"), ("--userns", "host")):
        assert pair in [*pairwise(run)], pair
    assert {"--rm", "--read-only"} <= set(run)
    assert "--privileged" not in run


def test_the_image_is_made_where_it_is_missing_and_pulled_from_nowhere(tmp_path: Path) -> None:
    called, _ = on_host(tmp_path, image_inspect={"status": 1}, **{"import": ""}, run="")
    assert [one[:2] for one in called] == [["image", "inspect"], ["import", "-"], ["run", "--rm"]]
    assert not [one for one in called if "pull" in one]


def test_a_host_that_fails_is_a_failure(tmp_path: Path) -> None:
    _, done = on_host(tmp_path, image_inspect="[]", run={"status": 1, "stderr": "no"})
    assert (done.returncode, done.stderr) == (1, "no")
    _, done = on_host(tmp_path, image_inspect={"status": 1}, **{"import": {"status": 1, "stderr": "cannot"}})
    assert (done.returncode, done.stderr) == (1, "cannot")


def test_only_the_store_may_write_all_over_the_host() -> None:
    assert host_trust.READS_ALL.split() == ["--volume", "/:/host:ro"]
    assert host_trust.WRITES_DOCKER.split() == ["--volume", "/:/host:ro", "--volume", "/etc/docker:/host/etc/docker"]
