"""A company beside a stack: an authority of its own that speaks ACME, and services behind that and behind another."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from testing.certificates import Issued, issue
from tests.e2e.stack import Stack
from tests.e2e.undoing import Undoing

DIRECTORY_HOST: Final = "ca.company.test"
DIRECTORY: Final = f"https://{DIRECTORY_HOST}/acme/company/directory"
LISTED: Final = "listed.company.test"
"""Behind an authority of the company's."""
UNLISTED: Final = "unlisted.company.test"
"""Behind one nobody was told of."""
_NOW: Final = datetime.now(UTC)


class Company(Undoing):
    """Runs in a container on the network the stack's own are on.

    What the authority asks of the names at the edge, it asks at port 80 of itself, which leads to the edge's: ports of
    this machine below 1024 are somebody else's.
    """

    def __init__(self, stack: Stack, names: Sequence[str]) -> None:
        super().__init__()
        self.root = issue("root of a company", now=_NOW, ca=True, to_days=3000)
        self.stranger = issue("root of a stranger", now=_NOW, ca=True, to_days=3000)
        self._stack = stack
        self._names = names
        self._name = f"{stack.prefix}-company"

    def _start(self) -> None:
        self.folder = Path(self._undo.enter_context(tempfile.TemporaryDirectory()))
        self.folder.chmod(0o755)
        self._undo.callback(self._remove)
        self.write("root.crt", self.root.pem)
        self.write("root.key", self.root.key_pem)
        for name, by in ((LISTED, self.root), (UNLISTED, self.stranger)):
            leaf = issue(name, by, now=_NOW, sans=[name])
            self.write(f"{name}.pem", leaf.pem + leaf.key_pem)
        self._serve()

    def write(self, name: str, content: bytes) -> str:
        """Put a file where the company keeps them, and return its path."""
        (self.folder / name).write_bytes(content)
        return str(self.folder / name)

    def _serve(self) -> None:
        # What a killed test run has left.
        self._remove()
        stack = self._stack
        self.write("Caddyfile", self._caddyfile().encode())
        aliases = [f"--network-alias={name}" for name in (DIRECTORY_HOST, LISTED, UNLISTED)]
        itself = [f"--add-host={name}:127.0.0.1" for name in self._names]
        stack.host.docker(
            "run",
            "--detach",
            f"--name={self._name}",
            f"--network={stack.prefix}-application",
            *aliases,
            *itself,
            f"--volume={self.folder}:/company:ro",
            stack.containers()["caddy"]["Image"],
            "caddy",
            "run",
            "--config=/company/Caddyfile",
        )

    def _caddyfile(self) -> str:
        port = self._stack.setting("edge.http_port")
        return f"""{{
	skip_install_trust
	auto_https disable_redirects
	log {{
		format json
	}}
	pki {{
		ca company {{
			root {{
				cert /company/root.crt
				key /company/root.key
			}}
		}}
	}}
}}
https://{DIRECTORY_HOST} {{
	tls {{
		issuer internal {{
			ca company
		}}
	}}
	log
	acme_server {{
		ca company
		challenges http-01
	}}
}}
https://{LISTED} {{
	tls /company/{LISTED}.pem /company/{LISTED}.pem
	respond "behind an authority of the company's"
}}
https://{UNLISTED} {{
	tls /company/{UNLISTED}.pem /company/{UNLISTED}.pem
	respond "behind an authority nobody was told of"
}}
http://:80 {{
	reverse_proxy {self._stack.prefix}-caddy:{port}
}}
"""

    def orders(self) -> int:
        """Return how many certificates were ordered since it was started."""
        done = subprocess.run(
            ["docker", "--host", self._stack.host.address, "logs", self._name],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        found = 0
        for line in (done.stdout + done.stderr).splitlines():
            entry = json.loads(line) if line.startswith("{") else {}
            request = entry.get("request", {})
            found += request.get("uri", "").endswith("/new-order") and entry.get("status") == 201
        return found

    def signed(self, name: str, *sans: str, by: Issued | None = None) -> Issued:
        """Return a certificate for a server."""
        return issue(name, by or self.root, now=_NOW, sans=sans)

    def _remove(self) -> None:
        subprocess.run(
            ["docker", "--host", self._stack.host.address, "rm", "--force", "--volumes", self._name],
            capture_output=True,
            timeout=60,
            check=False,
        )
