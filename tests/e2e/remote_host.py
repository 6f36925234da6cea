"""A second Docker host on this machine: a network namespace with a Docker daemon and an SSH server of its own."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.e2e.docker_host import DockerHost
from tests.e2e.processes import ask
from tests.e2e.undoing import Undoing

_NAMESPACE: Final = "reflector-e2e"
_LINK: Final = "reflectore2e"  # at most 15 characters
_GUARD: Final = "198.18.77.0/24"
"""RFC 2544 keeps these addresses for tests between devices: nobody is there."""
_NEAR: Final = "198.18.77.1"
_FAR: Final = "198.18.77.2"
_SSH_PORT: Final = 2222
_TLS_PORT: Final = 2376
_READY_SECONDS: Final = 60

# Program → Debian package. iptables is only recommended by docker.io, yet dockerd does not start without it.
_PROGRAMS: Final = {
    "ip": "iproute2",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "dockerd": "docker.io",
    "iptables": "iptables",
    "nsenter": "util-linux",
}


def install_programs() -> None:
    """Install what a second host takes, as far as it is missing."""
    missing = {package for program, package in _PROGRAMS.items() if shutil.which(program, path=_PATH) is None}
    if missing:
        assert shutil.which("apt-get"), f"install {', '.join(sorted(missing))}: only Debian's are installed by itself"
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *sorted(missing)]):
            subprocess.run(["apt-get", *command], env=environment, timeout=600, check=True)


_PATH: Final = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


class RemoteHost(Undoing):
    """A Docker host that is only reached over SSH."""

    address: Final = _FAR
    """Of what it publishes."""
    ssh_port: Final = _SSH_PORT
    docker_host: Final = f"ssh://root@{_FAR}:{_SSH_PORT}"
    neighbour: Final = _NEAR
    """Address of this machine, as it sees it."""
    manager: Final = f"tcp://{_FAR}:{_TLS_PORT}"
    """Address of the manager of a Swarm, once it is started."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="rfx-"))  # short: it holds sockets
        self._undo.callback(shutil.rmtree, self.folder)
        self._entering: tuple[str, ...] = ()
        self.near = DockerHost(address=f"unix://{self.folder}/docker.sock")
        """The same daemon without the detour, for the tests' own questions."""

    def _start(self) -> None:
        self._connect()
        self._separate()
        self.start_docker()
        self._start_ssh()

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to reach it, and only it: an `ssh` of its own comes first on the path."""
        return {"PATH": f"{self.folder}/bin:{_PATH}"}

    def _connect(self) -> None:
        remove_leftovers()
        # First of all, so that nothing meant for the other host ever takes the default route.
        ask(("ip", "route", "add", "unreachable", _GUARD, "metric", "9999"))
        self._undo.callback(ask, ("ip", "route", "del", "unreachable", _GUARD, "metric", "9999"))
        ask(("ip", "netns", "add", _NAMESPACE))
        self._undo.callback(ask, ("ip", "netns", "del", _NAMESPACE))
        ask(("ip", "link", "add", _LINK, "type", "veth", "peer", "name", "eth0", "netns", _NAMESPACE))
        self._undo.callback(remove_link)
        ask(("ip", "addr", "add", f"{_NEAR}/30", "dev", _LINK))
        ask(("ip", "link", "set", _LINK, "up"))
        ask(("ip", "-n", _NAMESPACE, "addr", "add", f"{_FAR}/30", "dev", "eth0"))
        for device in ("eth0", "lo"):
            ask(("ip", "-n", _NAMESPACE, "link", "set", device, "up"))

    def _separate(self) -> None:
        """Give it an /etc and a /usr/local/share of its own: whom it trusts is no business of this machine."""
        script = """
            set -e
            mount -t tmpfs tmpfs "$1"
            for lower in /etc /usr/local/share; do
                mkdir -p "$1$lower/upper" "$1$lower/work"
                mount -t overlay -o "lowerdir=$lower,upperdir=$1$lower/upper,workdir=$1$lower/work" overlay "$lower"
            done
            touch "$1/ready"
            exec sleep infinity
        """
        own = self.folder / "own"
        own.mkdir()
        keeper = self._launch(
            "own", "unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh", str(own)
        )  # fmt: skip
        self._undo.callback(keeper.wait, 10)
        self._undo.callback(keeper.kill)
        entering = ("nsenter", f"--target={keeper.pid}", "--mount")
        deadline = time.monotonic() + _READY_SECONDS
        while subprocess.run([*entering, "test", "-e", own / "ready"], timeout=10, check=False).returncode:
            log = (self.folder / "own.log").read_text(errors="replace")
            assert keeper.poll() is None and time.monotonic() < deadline, f"it has no files of its own:\n{log}"
            time.sleep(0.05)
        self._entering = entering

    def inside(self, *command: str) -> str:
        """Return what a command prints that sees its files."""
        return ask((*self._entering, *command))

    def _launch(self, name: str, *command: str) -> "subprocess.Popen[bytes]":
        # Not `ip netns exec`: it mounts /sys anew, and the control groups are gone.
        log = (self.folder / f"{name}.log").open("wb")
        self._undo.callback(log.close)
        return subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{_NAMESPACE}", *self._entering, *command],
            env={**os.environ, "PATH": _PATH},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def start_docker(self) -> None:
        """Start its daemon, and wait until it answers."""
        configuration = self.folder / "daemon.json"
        # It keeps the machine's own out, and adds what many companies set for all containers to the options of ours.
        options = {"log-driver": "json-file", "log-opts": {"compress": "true", "tag": "{{.Name}}"}}
        configuration.write_text(json.dumps(options), encoding="ascii")
        self._undo.callback(self._clear_mounts)
        # One that was killed took its containerd along. Where nobody buries it, its number seems to be in use, and the
        # next daemon would wait for that one instead of starting another.
        (self.folder / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)
        daemon = self._launch(
            "dockerd",
            "dockerd",
            f"--config-file={configuration}",
            f"--data-root={self.folder}/data",
            f"--exec-root={self.folder}/exec",
            f"--pidfile={self.folder}/docker.pid",
            f"--host={self.near.address}",
            f"--cgroup-parent=/{_NAMESPACE}",
            "--exec-opt=native.cgroupdriver=cgroupfs",
        )
        self._daemon = daemon
        self._undo.callback(self._stop, daemon)
        self._wait_for(daemon, "dockerd", self.near.address)

    def _wait_for(self, daemon: "subprocess.Popen[bytes]", name: str, address: str) -> None:
        """Wait until a daemon that was launched under a name answers at its socket."""
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                DockerHost(address=address).docker("version")
            except AssertionError:
                log = (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]
                assert daemon.poll() is None and time.monotonic() < deadline, f"{name} is not up there:\n{log}"
                time.sleep(0.2)
            else:
                return

    def start_manager(self, pem: Path, authority: str) -> None:
        """Start another daemon there that listens by TLS alone, and make it the manager of a Swarm of its own.

        It shows what is in `pem`, key and certificate, and obeys whoever shows a certificate of `authority` (PEM). It
        runs no containers, and so leaves the addresses and packets of the host to the daemon that does. Its own, as
        another certificate takes another start, which ends all containers.
        """
        folder = self.folder / "manager"
        folder.mkdir()
        (folder / "ca.pem").write_text(authority, encoding="ascii")
        (folder / "daemon.json").write_text("{}", encoding="ascii")
        daemon = self._launch(
            "manager",
            "dockerd",
            f"--config-file={folder}/daemon.json",
            f"--data-root={folder}/data",
            f"--exec-root={folder}/exec",
            f"--pidfile={folder}/docker.pid",
            f"--host=unix://{folder}/docker.sock",
            f"--host={self.manager}",
            "--tlsverify",
            f"--tlscacert={folder}/ca.pem",
            f"--tlscert={pem}",
            f"--tlskey={pem}",
            "--iptables=false",
            "--bridge=none",
        )
        self._undo.callback(self._stop, daemon)
        self._wait_for(daemon, "manager", f"unix://{folder}/docker.sock")
        near = DockerHost(address=f"unix://{folder}/docker.sock")
        near.docker("swarm", "init", "--advertise-addr", _FAR)

    def kill_docker_after(self, seconds: float) -> None:
        """Kill its daemon, as an out-of-memory killer would; what keeps its containers running lives on."""
        time.sleep(seconds)
        self._daemon.kill()
        self._daemon.wait(10)

    def _stop(self, daemon: "subprocess.Popen[bytes]") -> None:
        # On its way out it stops the containers, each with the time it was given.
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(180)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait(10)

    def _clear_mounts(self) -> None:
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
        for mount in reversed([mount for mount in mounts if mount.startswith(f"{self.folder}/")]):
            ask(("umount", "--lazy", mount))
        remove_control_groups()

    def _start_ssh(self) -> None:
        key, host_key = self.folder / "key", self.folder / "host_key"
        for file in (key, host_key):
            ask(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "e2e", "-f", str(file)))
        public = host_key.with_suffix(".pub").read_text(encoding="ascii")
        (self.folder / "known_hosts").write_text(f"[{_FAR}]:{_SSH_PORT} {public}", encoding="ascii")
        server = self.folder / "sshd_config"
        server.write_text(
            f"ListenAddress {_FAR}:{_SSH_PORT}\n"
            f"HostKey {host_key}\n"
            f"PidFile {self.folder}/sshd.pid\n"
            f"AuthorizedKeysFile {key}.pub\n"
            "StrictModes no\n"  # the folder's parent is writable for all
            "UsePAM no\n"
            "PasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\n"
            "PermitRootLogin prohibit-password\n"
            "MaxSessions 64\n"
            "MaxStartups 100\n"
            # The file system is shared: without this the session would find the machine's own daemon.
            f"SetEnv DOCKER_HOST={self.near.address}\n",
            encoding="ascii",
        )
        client = self.folder / "ssh_config"
        client.write_text(
            "Host *\n"
            f"  IdentityFile {key}\n"
            "  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.folder}/known_hosts\n"
            "  GlobalKnownHostsFile /dev/null\n"
            "  StrictHostKeyChecking yes\n"
            "  BatchMode yes\n"
            "  ConnectTimeout 10\n",
            encoding="ascii",
        )
        wrapper = self.folder / "bin" / "ssh"
        wrapper.parent.mkdir()
        real = shutil.which("ssh", path=_PATH)
        wrapper.write_text(f'#!/bin/sh\nexec {real} -F {client} "$@"\n', encoding="ascii")
        wrapper.chmod(0o755)
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd confines itself; made by systemd elsewhere
        sshd = shutil.which("sshd", path=_PATH)
        assert sshd, "sshd wants to be called by its whole path"
        ask((sshd, "-t", "-f", str(server)))
        process = self._launch("sshd", sshd, "-D", "-e", "-f", str(server))
        self._undo.callback(process.wait, 10)
        self._undo.callback(process.terminate)
        deadline = time.monotonic() + _READY_SECONDS
        while subprocess.run(
            [wrapper, "-p", str(_SSH_PORT), f"root@{_FAR}", "true"], timeout=30, check=False
        ).returncode:
            log = (self.folder / "sshd.log").read_text(errors="replace")[-3000:]
            assert process.poll() is None and time.monotonic() < deadline, f"the second host's sshd is not up:\n{log}"
            time.sleep(0.2)


def remove_link() -> None:
    """Remove the near end of the link, which takes the far end along, whoever was first."""
    if Path(f"/sys/class/net/{_LINK}").exists():
        ask(("ip", "link", "del", _LINK))


def remove_control_groups() -> None:
    """Remove the control groups of the second daemon's containers, from the leaves up."""
    for folder, _, _ in os.walk("/sys/fs/cgroup", topdown=False):
        if f"/{_NAMESPACE}" in folder:
            # One of a container that is just ending goes by itself.
            with suppress(OSError):
                Path(folder).rmdir()


def remove_leftovers() -> None:
    """Remove what a killed test run has left in the way: addresses, processes and mounts of its host."""
    if Path(f"/run/netns/{_NAMESPACE}").exists():
        for process in ask(("ip", "netns", "pids", _NAMESPACE)).split():
            with suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        ask(("ip", "netns", "del", _NAMESPACE))
    remove_link()
    if ask(("ip", "route", "show", "type", "unreachable", _GUARD)).strip():
        ask(("ip", "route", "del", "unreachable", _GUARD))
