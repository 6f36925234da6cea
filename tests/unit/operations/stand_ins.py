"""What the tests of operations put in the engine's place, and in the state's."""

import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

from operations.stack import Stack
from settings import Settings, parse
from testing.certificates import Issued
from testing.commands import calls, fake_command

Docker: TypeAlias = Callable[..., Path]
"""See the fixture `docker`."""

INFO: Final[Mapping[str, Any]] = {
    "DockerRootDir": "/", "CgroupVersion": "2", "Driver": "overlay2", "OperatingSystem": "Debian",
}  # fmt: skip
VERSION: Final[Mapping[str, Any]] = {"Version": "27.1.1", "ApiVersion": "1.46"}
OLDER: Final[Mapping[str, Any]] = {"Version": "24.0.9", "ApiVersion": "1.43"}
"""New enough for a stack, and without a start interval."""
PENDING: Final[Mapping[str, Any]] = {
    "version": 3,
    "deployment": {
        "resources": [{"urn": "kept"}],
        "pending_operations": [
            {"type": "creating", "resource": {"urn": "urn:interrupted", "type": "docker:index/container:Container"}}
        ],
    },
}


def listed(
    name: str,
    ports: str = "",
    stack: str = "",
    deployment: str = "",
    *,
    state: str = "running",
    status: str = "Up 2 hours (healthy)",
    networks: str = "bridge",
) -> str:
    """Return a line of `docker ps`, of the container whose id is its name in capitals."""
    container = {
        "ID": name.upper(), "Names": name, "Labels": _labels(stack, deployment), "Ports": ports, "State": state,
        "Status": status, "Networks": networks,
    }  # fmt: skip
    return json.dumps(container) + "\n"


def listed_volume(name: str, stack: str, deployment: str = "") -> str:
    """Return a line of `docker volume ls`."""
    return json.dumps({"Name": name, "Labels": _labels(stack, deployment)}) + "\n"


def _labels(stack: str, deployment: str) -> str:
    labels = "maintainer=somebody"
    labels += f",org.reflector.stack={stack}" if stack else ""
    return labels + (f",org.reflector.deployment={deployment}" if deployment else "")


def settings_of(https_port: int, http_port: int, edge: Mapping[str, object] | None = None, **more: object) -> Settings:
    """Return the settings of the stack `test` with these ports."""
    ports = {"https_port": https_port, "http_port": http_port, "bind_addresses": ["127.0.0.1"]}
    return parse({"edge": {**ports, **(edge or {})}, **more}, "test", "reflector")


def with_file(stack: Stack, settings: Mapping[str, object], **more: object) -> Path:
    """Give `stack` a file with these settings, and return where it is."""
    file = stack.layout.root / f"Pulumi.{stack.name}.yaml"
    config = {f"reflector:{name}": value for name, value in settings.items()}
    if "secure" in str(config):
        more.setdefault("encryptionsalt", "v1:salt=:v1:x:y")
    file.write_text(yaml.safe_dump({"config": config, **more}), encoding="utf-8")
    return file


def with_engine(stack: Stack, **answers: Any) -> Path:
    """Give the checkout of `stack` an engine with these answers, and return the log of its calls."""
    return fake_command(stack.layout.bin, "pulumi", {key.replace("_", " "): value for key, value in answers.items()})


def with_state(
    stack: Stack,
    folder: Path | None = None,
    *,
    resources: Sequence[Mapping[str, Any]] = (),
    pending: bool | Sequence[Mapping[str, Any]] = False,
    salt: str = "",
    time: str = "2026-01-01T00:00:00Z",
    lock: Mapping[str, Any] | None = None,
) -> Path:
    """Give `stack` a checkpoint, and perhaps a lock; return where the lock is."""
    state = (folder or stack.layout.state) / ".pulumi"
    file = state / "stacks" / "reflector" / "test.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(checkpoint(resources=resources, pending=pending, salt=salt, time=time), encoding="utf-8")
    locks = state / "locks" / "organization" / "reflector" / "test"
    locks.mkdir(parents=True, exist_ok=True)
    if lock is not None:
        (locks / "lock.json").write_text(json.dumps(lock), encoding="utf-8")
    return locks / "lock.json"


def checkpoint(
    *,
    resources: Sequence[Mapping[str, Any]] = (),
    pending: bool | Sequence[Mapping[str, Any]] = False,
    salt: str = "",
    time: str = "2026-01-01T00:00:00Z",
) -> str:
    """Return what the engine's file backend keeps of a stack."""
    latest: dict[str, Any] = {"manifest": {"time": time}, "resources": list(resources)}
    if pending is True:
        latest |= PENDING["deployment"]
    elif pending:
        latest["pending_operations"] = list(pending)
    if salt:
        latest["secrets_providers"] = {"type": "passphrase", "state": {"salt": salt}}
    return json.dumps({"version": 3, "checkpoint": {"stack": "test", "latest": latest}})


def lock_of(pid: int, hostname: str = "") -> Mapping[str, Any]:
    """Return the content of an engine's lock; of this machine unless another is named."""
    return {
        "pid": pid,
        "hostname": hostname or socket.gethostname(),
        "username": "somebody",
        "timestamp": "2026-01-02T03:04:05.678Z",
    }


def asked(log: Path) -> list[str]:
    """Return the calls of a command, each as one line."""
    return [" ".join(call["arguments"]) for call in calls(log)]


def ended_process() -> int:
    """Return the id of a process that is no more."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


class Listener:
    """Answers HTTP over TLS 1.3, to those who show a certificate of `clients` where that is said.

    It shows the certificate `of` with those `above` it.
    """

    def __init__(
        self, folder: Path, of: Issued, port: int, clients: Issued | None = None, above: Sequence[Issued] = ()
    ) -> None:
        folder.mkdir()
        (folder / "tls.pem").write_bytes(b"".join((of.pem, *(one.pem for one in above), of.key_pem)))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "tls.pem")
        if clients is not None:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(cadata=clients.pem.decode())
        self.socket = socket.create_server(("127.0.0.1", port))
        self.socket.settimeout(0.05)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def stop(self) -> None:
        self.over.set()
        self.thread.join()
        self.socket.close()

    def _serve(self) -> None:
        while not self.over.is_set():
            try:
                raw, _ = self.socket.accept()
            except TimeoutError:
                continue
            try:
                raw.settimeout(5)
                with raw, self.context.wrap_socket(raw, server_side=True) as secured:
                    secured.recv(1024)
                    secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            except OSError:
                continue
