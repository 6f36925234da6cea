"""No secret is where it does not belong."""

import base64
import json
import re
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker

_SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|API_KEY|PRIVATE")
_PLACEHOLDER = "not-needed"
"""Where a client insists on a key and the service asks for none."""
KINDS: Final = (
    "authority-1-key privateKeyPem",
    "edge-certificate-1-key privateKeyPem",
    "hatchet-token",
    "sign-in-admin result",
    "garage-key-secret result",
    "garage-key-secret result (base64)",
)
"""One secret of each kind there is."""


def secrets_of(stack: Stack) -> dict[str, str]:
    """Return every secret of a stack, by the place it was found in."""
    found: dict[str, str] = {}
    for resource in stack.resources(show_secrets=True):
        name = resource["urn"].rpartition("::")[2]
        secrets = {
            key: plain(value)
            for key, value in resource.get("outputs", {}).items()
            if isinstance(value, dict) and "plaintext" in value and not key.startswith("__")
        }
        # (The id of an access key is its user name: it is part of every presigned URL.)
        if resource["type"].startswith(("random:", "tls:")) and not name.endswith("-key-id"):
            for key, secret in secrets.items():
                found[f"{name} {key}"] = pem_line(secret) if "PRIVATE KEY" in secret else secret
                if re.fullmatch("(?:[0-9a-f]{2}){16,}", secret):
                    # The id the provider gives random bytes.
                    found[f"{name} {key} (base64)"] = base64.b64encode(bytes.fromhex(secret)).decode()
        elif name == "hatchet-token":
            found[name] = secrets["stdout"]
    for service, container in stack.containers().items():
        for variable in container["Config"]["Env"]:
            key, _, value = variable.partition("=")
            if _SECRET_NAME.search(key) and value != _PLACEHOLDER:
                found[f"{service} {key}"] = value
            elif "://" in value and urlsplit(value).password:
                found[f"{service} {key}"] = str(urlsplit(value).password)
    assert all(len(secret) >= 16 for secret in found.values()), found.keys()
    return found


def plain(value: Any) -> Any:
    """Return what an exported value is, whether it is a secret or not."""
    return json.loads(value["plaintext"]) if isinstance(value, dict) and "plaintext" in value else value


def pem_line(pem: str) -> str:
    """Return the first line of a key: no encoding of line ends can hide it."""
    return str(pem.splitlines()[1])


def leaks(secrets: dict[str, str], text: str) -> list[str]:
    """Return which secrets stand in a text."""
    return [place for place, secret in secrets.items() if secret in text]


@pytest.fixture
def secrets(deployment: Stack) -> dict[str, str]:
    """Every secret of the shared deployment."""
    found = secrets_of(deployment)
    assert set(KINDS) <= found.keys(), "the search itself has lost sight of them"
    assert "server DATABASE_URL" in found
    return found


def test_the_state_holds_no_secret_in_plain_text(deployment: Stack, secrets: dict[str, str]) -> None:
    exported = deployment.pulumi("stack", "export").succeeded().output
    assert leaks(secrets, exported) == []
    assert "PRIVATE KEY" not in exported
    # The search works: with the secrets shown it finds them.
    shown = deployment.pulumi("stack", "export", "--show-secrets").succeeded().output
    assert set(KINDS) - {"garage-key-secret result (base64)"} <= set(leaks(secrets, shown))


def test_no_id_is_a_secret(deployment: Stack, secrets: dict[str, str]) -> None:
    ids = {resource["urn"].rpartition("::")[2]: resource.get("id", "") for resource in deployment.resources()}
    assert {name: leaked for name, id_ in ids.items() if (leaked := leaks(secrets, id_))} == {}
    assert ids["garage-key-secret"] == "none"


def test_no_file_of_the_engine_holds_a_secret_in_plain_text(deployment: Stack, secrets: dict[str, str]) -> None:
    found = {name: leaked for name, text in deployment.files() if (leaked := leaks(secrets, text))}
    assert found == {}


def test_no_run_has_printed_a_secret(deployment: Stack, secrets: dict[str, str]) -> None:
    deployment.run("preview", "--refresh").succeeded()
    found = [leaked for text in deployment.console if (leaked := leaks(secrets, text))]
    assert found == []


def test_no_container_has_logged_a_secret(deployment: Stack, secrets: dict[str, str]) -> None:
    logs = {service: deployment.host.logs(container) for service, container in deployment.ids().items()}
    assert logs["postgres"], "the search would be in vain"
    assert {service: leaked for service, text in logs.items() if (leaked := leaks(secrets, text))} == {}


def test_no_command_line_holds_a_secret(deployment: Stack, secrets: dict[str, str], history: list[str]) -> None:
    lines = {
        service: json.dumps([container["Path"], container["Args"], container["Config"]["Cmd"]])
        for service, container in deployment.containers().items()
    }
    assert {service: leaked for service, line in lines.items() if (leaked := leaks(secrets, line))} == {}
    # Commands run in the containers, steps of the program and health checks alike, with their whole command lines.
    executed = [action for action in history if action.startswith("exec_create")]
    assert any('eval "$STEP" # hatchet-token' in action for action in executed)
    assert any('eval "$STEP" # postgres-databases' in action for action in executed)
    assert leaks(secrets, "\n".join(executed)) == []


def test_a_secret_is_not_in_an_image(deployment: Stack, secrets: dict[str, str]) -> None:
    images = sorted({container["Image"] for container in deployment.containers().values()})
    history = "".join(deployment.host.docker("history", "--no-trunc", image) for image in images)
    assert leaks(secrets, deployment.host.docker("image", "inspect", *images) + history) == []


def test_the_passphrase_is_nobody_elses(deployment: Stack) -> None:
    layout = deployment.checkout.layout
    assert layout.passphrase.stat().st_mode & 0o077 == 0
    passphrase = layout.passphrase.read_text(encoding="ascii").strip()
    assert not [name for name, text in deployment.files() if passphrase in text]
    assert not [text for text in deployment.console if passphrase in text]


def test_hatchet_keeps_its_keys_and_no_password(deployment: Stack) -> None:
    """It writes down all it is told before it starts, and reads that again; the start script takes it away."""
    told = dict(one.split("=", 1) for one in deployment.containers()["hatchet"]["Config"]["Env"])
    kept = deployment.inside("hatchet", "find", "/config", "-type", "f").split()
    assert "/config/server.yaml" in kept, "its keys"
    text = deployment.inside("hatchet", "cat", *kept)
    assert "privateJWTKeyset" in text, "the search works"
    assert told["ADMIN_PASSWORD"] not in text
    assert deployment.inside("hatchet", "find", "/config", "-type", "f", "-perm", "/077") == ""
    # As if a variable of before had set it.
    keys = [line for line in text.splitlines() if "Keyset" in line or "secrets:" in line]
    deployment.inside("hatchet", "sh", "-c", "printf 'logger:\\n  level: \"debug\"\\n' >> /config/server.yaml")
    deployment.host.docker("restart", f"{deployment.prefix}-hatchet", timeout_seconds=180)
    deployment.wait_until_healthy()
    text = deployment.inside("hatchet", "cat", "/config/server.yaml")
    assert "debug" not in text, "what is not made any more is not in force"
    assert [line for line in text.splitlines() if "Keyset" in line or "secrets:" in line] == keys
