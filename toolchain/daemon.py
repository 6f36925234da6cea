"""Docker: are the local daemon and the command there and good enough; on Debian as root: install and start them."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolchain import system
from toolchain.layout import Layout, ToolchainError
from toolchain.pins import Pins
from toolchain.progress import Progress

SOCKET = Path("/var/run/docker.sock")
"""Where Docker listens unless told otherwise."""

PID_FILE = Path("/var/run/docker.pid")
"""Where dockerd notes its process unless told otherwise."""

SYSTEMD = Path("/run/systemd/system")
"""A folder that exists where systemd is in charge of the machine, as sd_booted(3) tells it."""

START_SECONDS = 60.0
"""How long a daemon started here may take to answer."""

FREE_DISK_GIB = 5.0
"""Free disk the images and volumes of a development stack need at least."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(10)
        self.sock.connect(str(self._path))


@dataclass(frozen=True, kw_only=True)
class EngineFacts:
    """What a daemon says about itself."""

    version: str
    api: str
    cgroup_version: str
    storage_driver: str
    operating_system: str
    root: str
    free_gib: float | None
    """Free disk under `root` in GiB; None where it lies on another machine."""


def _get(path: Path, request: str) -> Any:
    connection = _Connection(path)
    try:
        connection.request("GET", request)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def facts(path: Path = SOCKET) -> EngineFacts | None:
    """Return what the daemon at `path` says, or None when none answers."""
    try:
        version, info = _get(path, "/version"), _get(path, "/info")
    except PermissionError as error:
        raise ToolchainError(
            f"{path} may not be opened by this user. Add it to the group docker (usermod -aG docker $USER) and log in"
            " again."
        ) from error
    except (OSError, http.client.HTTPException, json.JSONDecodeError):
        return None
    root = str(info.get("DockerRootDir", ""))
    free = shutil.disk_usage(root).free / 2**30 if os.access(root, os.X_OK) else None
    return EngineFacts(
        version=str(version.get("Version", "")),
        api=str(version.get("ApiVersion", "")),
        cgroup_version=str(info.get("CgroupVersion", "") or "none"),
        storage_driver=str(info.get("Driver", "")),
        operating_system=str(info.get("OperatingSystem", "")),
        root=root,
        free_gib=free,
    )


def engine_problems(found: EngineFacts, pins: Pins, free_gib: float = FREE_DISK_GIB) -> list[str]:
    """Return one line for everything that keeps the daemon from running a stack; empty when it is good enough."""
    lines = []
    for what, given, least in (
        ("engine", found.version, pins.minimum("docker")),
        ("API", found.api, pins.minimum("docker_api")),
    ):
        if system.version_tuple(given) < system.version_tuple(least):
            lines.append(f"Docker's {what} is {given or 'unknown'}; at least {least} is needed. Update Docker.")
    if found.cgroup_version not in ("1", "2"):
        lines.append(
            "Docker has no cgroups, so no memory limit would hold. Mount them (package cgroupfs-mount) and restart it."
        )
    if found.free_gib is not None and found.free_gib < free_gib:
        lines.append(
            f"{found.root} has {found.free_gib:.1f} GiB free; at least {free_gib:g} GiB are needed. Free some"
            " (docker system prune), or change minimum_free_disk_gib."
        )
    return lines


def ensure(
    layout: Layout, pins: Pins, progress: Progress, path: Path = SOCKET, free_gib: float = FREE_DISK_GIB
) -> EngineFacts:
    """Return the facts of a good enough local daemon; on Debian as root it is installed and started if need be."""
    found = facts(path)
    if found is None:
        if path != SOCKET or not system.is_root_on_debian():
            raise ToolchainError(
                f"No Docker daemon answers on {path}. Start it, or install Docker"
                " (https://docs.docker.com/engine/install/), or set docker_host to another machine's."
            )
        progress.say(f"No Docker daemon answers on {path}, and this is root on Debian: installing and starting one.")
        if shutil.which("dockerd") is None:
            # iptables is only recommended by docker.io, yet dockerd does not start without it.
            system.apt_install(["docker.io", "iptables"], "Docker", progress)
        found = _start(layout, progress, path)
    lines = engine_problems(found, pins, free_gib)
    if lines:
        raise ToolchainError("\n".join(lines))
    return found


def ensure_command(progress: Progress) -> None:
    """Make sure of the `docker` command, which is needed wherever the daemon is; on Debian as root it is installed."""
    if shutil.which("docker") is None and system.is_root_on_debian():
        # A package of its own since Debian 13; before, it was in docker.io itself.
        if not system.apt_candidate("docker-cli"):  # nor in lists that were never fetched
            system.apt_update(progress)
        package = "docker-cli" if system.apt_candidate("docker-cli") else "docker.io"
        system.apt_install([package], "Docker's command line", progress)
    if shutil.which("docker") is None:
        raise ToolchainError(
            "There is no docker command on PATH; it is needed wherever the Docker daemon is. Install it"
            " (https://docs.docker.com/engine/install/); package docker-ce-cli or docker-cli has it without the daemon."
        )


def remove_stale_pid_file(path: Path = PID_FILE) -> None:
    """Remove the note of a daemon that is no more.

    After an unclean end its number may be another process's, and dockerd then refuses to start because of it.
    """
    try:
        pid = int(path.read_text(encoding="ascii"))
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        name = ""
    except ValueError:
        name = "nothing dockerd has written"
    if name != "dockerd":
        path.unlink(missing_ok=True)


def _start(layout: Layout, progress: Progress, path: Path) -> EngineFacts:
    layout.logs.mkdir(parents=True, exist_ok=True)
    log = layout.logs / "dockerd.log"
    with progress.step("Docker: starting the daemon") as step:
        if SYSTEMD.is_dir():
            system.run(["systemctl", "enable", "--now", "docker"], step=step)
            process = None
        else:
            remove_stale_pid_file()
            with log.open("ab") as sink:
                # A session of its own: the daemon outlives this command and does not get its Ctrl-C.
                process = subprocess.Popen(
                    ["dockerd"], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
                )
        while step.elapsed < START_SECONDS:
            found = facts(path)
            if found is not None:
                return found
            if process is not None and process.poll() is not None:
                break
            time.sleep(0.25)
    late = f"The Docker daemon did not come up within {START_SECONDS:.0f} s"
    if process is None:
        raise ToolchainError(f"{late}; `journalctl --unit docker` tells why.")
    tail = "".join(log.read_text(errors="replace").splitlines(keepends=True)[-15:])
    raise ToolchainError(f"{late} ({log}).\n{tail}")


def describe(found: EngineFacts) -> list[str]:
    """Return the facts as lines for people."""
    free = f"{found.free_gib:.1f} GiB free" if found.free_gib is not None else "free disk unknown"
    return [
        f"Docker {found.version}, API {found.api}, cgroups v{found.cgroup_version}, {found.storage_driver},"
        f" {found.operating_system}",
        f"{found.root}: {free}",
    ]
