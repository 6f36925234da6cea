"""An image registry on this machine: Debian's, with TLS by an authority of its own, and with a password."""

import base64
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

from testing.docker import free_port
from tests.e2e.docker_host import DockerHost
from tests.e2e.processes import ask
from tests.e2e.undoing import Undoing

USERNAME: Final = "puller"
PASSWORD: Final = "right-password"
_HASH: Final = "$2b$04$abcdefghijklmnopqrstuuS80hwFD6gSIL20SCUGvmL7S939BjOHW"
"""Of PASSWORD, by bcrypt, the one kind the registry takes."""
_PACKAGE: Final = "docker-registry"
_READY_SECONDS: Final = 30


class Registry(Undoing):
    """A registry that a daemon of this machine reaches by its bridge: every loopback address would count as trusted.

    Or one of another machine, by an address of this one; that one is told of no authority.
    """

    def __init__(self, host: DockerHost, *, ip: str = "") -> None:
        self._host = host
        self._tells = not ip
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="reflector-registry-"))
        self._undo.callback(shutil.rmtree, self.folder)
        gateway = ("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
        self.ip = ip or host.docker(*gateway).strip()
        self.address = f"{self.ip}:{free_port()}"
        self.authority = self.folder / "registry.crt"
        """Who signs for it."""

    @property
    def certificates(self) -> Path:
        """Where the daemon looks for the authority of this registry; read anew for each connection."""
        return Path("/etc/docker/certs.d") / self.address

    def push(self, image: str, name: str, **labels: str) -> str:
        """Put `image` there under `name`, made another one by labels; return its digest and leave no copy behind."""
        reference = f"{self.address}/{name}"
        dockerfile = f"FROM {image}\n" + "".join(f"LABEL {key}={value}\n" for key, value in labels.items())
        (self.folder / "context").mkdir(exist_ok=True)
        (self.folder / "context" / "Dockerfile").write_text(dockerfile, encoding="utf-8")
        environment = {**os.environ, "DOCKER_CONFIG": str(self.docker_config().parent), "DOCKER_BUILDKIT": "0"}
        for command in (
            ("build", "--quiet", "--tag", reference, str(self.folder / "context")),
            ("push", "--quiet", reference),
        ):
            subprocess.run(
                ["docker", "--host", self._host.address, *command],
                env=environment, timeout=120, check=True, capture_output=True,
            )  # fmt: skip
        digests = self._host.docker("image", "inspect", reference, "--format", '{{join .RepoDigests " "}}').split()
        (digest,) = (one.partition("@")[2] for one in digests if one.startswith(f"{self.address}/"))
        self.forget(reference)
        return digest

    def pull(self, reference: str) -> subprocess.CompletedProcess[str]:
        """Have the daemon pull an image, with a login."""
        environment = {**os.environ, "DOCKER_CONFIG": str(self.docker_config().parent)}
        return subprocess.run(
            ["docker", "--host", self._host.address, "pull", "--quiet", reference],
            env=environment, timeout=120, check=False, capture_output=True, text=True,
        )  # fmt: skip

    def forget(self, reference: str) -> None:
        """Remove the daemon's own copy of an image, whoever runs it."""
        self._host.docker("image", "rm", "--force", reference)

    def docker_config(self, password: str = PASSWORD) -> Path:
        """Return a configuration file of the docker command that is logged in here."""
        file = self.folder / "docker" / "config.json"
        file.parent.mkdir(exist_ok=True)
        login = base64.b64encode(f"{USERNAME}:{password}".encode()).decode()
        file.write_text(json.dumps({"auths": {self.address: {"auth": login}}}), encoding="utf-8")
        return file

    def _start(self) -> None:
        program = self._program()
        key, certificate = self.folder / "registry.key", self.authority
        ask(
            ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "7",
             "-subj", "/CN=Registry of a test", "-addext", f"subjectAltName=IP:{self.ip}",
             "-keyout", str(key), "-out", str(certificate))
        )  # fmt: skip
        if self._tells:
            self.certificates.mkdir(parents=True)
            self._undo.callback(shutil.rmtree, self.certificates)
            shutil.copy(certificate, self.certificates / "ca.crt")
        users = self.folder / "htpasswd"
        users.write_text(f"{USERNAME}:{_HASH}\n", encoding="ascii")
        configuration = self.folder / "registry.yml"
        configuration.write_text(
            json.dumps(
                {
                    "version": 0.1,
                    "log": {"level": "warn"},
                    "storage": {"filesystem": {"rootdirectory": str(self.folder / "images")}},
                    "http": {"addr": self.address, "tls": {"certificate": str(certificate), "key": str(key)}},
                    "auth": {"htpasswd": {"realm": "Test", "path": str(users)}},
                }
            ),
            encoding="utf-8",
        )
        log = (self.folder / "registry.log").open("wb")
        self._undo.callback(log.close)
        process = subprocess.Popen(
            [program, "serve", str(configuration)], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        self._undo.callback(process.wait, 10)
        self._undo.callback(process.terminate)
        deadline = time.monotonic() + _READY_SECONDS
        while self._status(certificate) != 401:
            said = (self.folder / "registry.log").read_text(errors="replace")[-3000:]
            assert process.poll() is None and time.monotonic() < deadline, f"the registry is not up:\n{said}"
            time.sleep(0.1)

    def _status(self, certificate: Path) -> int:
        """Return what it answers to somebody who does not log in; 0 for nothing at all."""
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(certificate))),
        )
        try:
            return int(opener.open(f"https://{self.address}/v2/", timeout=5).status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def _program(self) -> str:
        """Return where the registry's program is; fetched as a package, but not installed, where it is missing."""
        found = shutil.which(_PACKAGE)
        if found:
            return found
        assert shutil.which("apt-get"), f"install {_PACKAGE}: only Debian's is fetched by itself"
        subprocess.run(
            ["apt-get", "download", "-q", _PACKAGE], cwd=self.folder, timeout=300, check=True, capture_output=True
        )
        (package,) = self.folder.glob("*.deb")
        ask(("dpkg-deb", "--extract", str(package), str(self.folder / "package")))
        return str(self.folder / "package" / "usr" / "bin" / _PACKAGE)
