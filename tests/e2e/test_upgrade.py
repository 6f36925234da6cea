"""A stack that an earlier release has deployed is taken over as it is."""

import base64
import json
import shlex
import subprocess
from collections.abc import Mapping
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker

FORMER: Final[Mapping[str, str]] = {
    # Name of a resource → what it was called before the settings became a tree.
    "authority-1-key": "authority-key",
    "authority-1-certificate": "authority-certificate",
    "edge-certificate-1-key": "edge-certificate-key",
    "edge-certificate-1-request": "edge-certificate-request",
    "edge-certificate-1-certificate": "edge-certificate-certificate",
    "sign-in-admin": "reflector-admin",
    "sign-in-admin-salt": "reflector-admin-salt",
}
PASSWORD: Final = "random:index/randomPassword:RandomPassword"
BYTES: Final = "random:index/randomBytes:RandomBytes"
"""What tokens were made by before RandomPassword."""
SECRET: Final = "4dabf18193072939515e22adb298388d"
"""The key that marks a secret in a state."""
MOVED: Final = ("reflector:password:PasswordSignIn", "reflector:reflector:Reflector")
"""The component whose resources were another one's: there was no room for sign-in."""


def name_of(resource: Mapping[str, Any]) -> str:
    return str(resource["urn"]).rpartition("::")[2]


def as_an_earlier_release_left_it(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state as it would be had it been made before the settings became a tree, under the names of then."""
    resources: list[dict[str, Any]] = state["deployment"]["resources"]
    (component,) = (resource for resource in resources if resource["type"] == MOVED[0])
    (owner,) = (resource for resource in resources if resource["type"] == MOVED[1])
    urns = {component["urn"]: owner["urn"]}
    for resource in resources:
        name = name_of(resource)
        if name in FORMER:
            within = resource["urn"].removesuffix(name).replace(f"{MOVED[0]}$", f"{MOVED[1]}$")
            urns[resource["urn"]] = f"{within}{FORMER[name]}"
    # A state names a parent before its children, so the later one takes the place of the one that goes.
    order = [owner if one is component else one for one in resources if one is not owner]
    former = [{key: value for key, value in one.items() if key != "aliases"} for one in order]
    text = json.dumps({**state, "deployment": {**state["deployment"], "resources": former}})
    for urn, earlier in urns.items():
        text = text.replace(json.dumps(urn), json.dumps(earlier))
    renamed: dict[str, Any] = json.loads(text)
    return renamed


def with_random_bytes(state: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    """Return a state as it would be had its tokens, of these values, been made by the official plugin's RandomBytes."""
    resources: list[dict[str, Any]] = state["deployment"]["resources"]
    urns: dict[str, str] = {}
    former: list[dict[str, Any]] = []
    for resource in resources:
        name = name_of(resource)
        if name not in values:
            former.append(resource)
            continue
        content = bytes.fromhex(values[name])
        encoded = base64.b64encode(content).decode()
        urns[resource["urn"]] = resource["urn"].replace(f"{PASSWORD}::", f"{BYTES}::")
        secret = resource["outputs"]["result"]
        former.append(
            {
                **resource,
                "type": BYTES,
                "id": encoded,
                "inputs": {"length": len(content)},
                "outputs": {
                    "base64": {SECRET: secret[SECRET], "plaintext": json.dumps(encoded)},
                    "hex": secret,
                    "length": len(content),
                },
                "propertyDependencies": {"length": []},
                "additionalSecretOutputs": ["base64", "hex"],
                # All were, before modes could be switched off.
                "protect": True,
            }
        )
    text = json.dumps({**state, "deployment": {**state["deployment"], "resources": former}})
    for urn, earlier in urns.items():
        text = text.replace(json.dumps(urn), json.dumps(earlier))
    changed: dict[str, Any] = json.loads(text)
    return changed


def tokens_of(stack: Stack) -> dict[str, str]:
    """Return the tokens of a stack, by the name of their resource."""
    return {
        name_of(resource): json.loads(resource["outputs"]["result"]["plaintext"])
        for resource in stack.resources(show_secrets=True)
        if resource["type"] == PASSWORD and "overrideSpecial" in resource["inputs"]
    }


def test_an_upgrade_keeps_the_authority_the_password_the_rows_and_the_objects(deployment: Stack) -> None:
    traces = deployment.leave_traces()
    outputs, ids = deployment.outputs(), deployment.ids()
    tokens = tokens_of(deployment)
    assert {"garage-key-secret", "sign-in-admin-salt", "reflector-secret-key"} <= tokens.keys()
    assert {name: size for name, value in tokens.items() if (size := len(value)) != 64} == {
        "garage-key-id": 24,
        "sign-in-admin-salt": 32,
    }
    today = deployment.export()
    former = as_an_earlier_release_left_it(with_random_bytes(today, tokens))
    names = {name_of(resource) for resource in former["deployment"]["resources"]}
    assert names >= set(FORMER.values()), "nothing would be tried"
    assert names.isdisjoint(FORMER)
    assert BYTES in {resource["type"] for resource in former["deployment"]["resources"]}

    deployment.settled = False
    deployment.restore(former)
    try:
        # Plain `pulumi`, which does not take the state over, stops before anything is touched.
        refused = deployment.pulumi("preview")
        assert refused.status != 0
        assert "marked for protection" in refused.output

        taken_over = deployment.run("preview").succeeded().output
        assert f"{len(tokens)} tokens keep their values" in taken_over
        remove = shlex.split(taken_over.partition("To remove those: ")[2].splitlines()[0])
        assert remove[:3] == ["rm", "-r", "--"]
        assert in_clear_text(deployment, tokens), "the search would be in vain"
        subprocess.run(remove, check=True)
        assert in_clear_text(deployment, tokens) == []
        assert tokens_of(deployment) == {FORMER.get(name, name): value for name, value in tokens.items()}
        planned = deployment.planned()
        assert planned == {"sign-in": "create"}, "a component holds nothing; all else that is there stays what it is"
        assert deployment.planned(refresh=True) == planned
    except BaseException:
        # Other tests want their authority back.
        deployment.restore(today)
        raise

    deployment.up()
    assert deployment.last_changes().keys() == {"same", "create"}
    assert deployment.ids() == ids, "no container has noticed"
    assert deployment.outputs() == outputs
    assert tokens_of(deployment) == tokens
    protected = {name_of(resource) for resource in deployment.resources() if resource.get("protect")}
    assert {
        "authority-1-key",
        "authority-1-certificate",
        "reflector-secret-key",
        "reflector-nextauth-secret",
    } <= protected
    assert traces.are_found_in(deployment)
    assert deployment.planned(refresh=True) == {}


def with_the_providers_own_root(state: Mapping[str, Any], shown: str) -> tuple[dict[str, Any], str]:
    """Return a state, secrets in the open, as releases left it that showed what the provider made; and that root."""
    resources: list[dict[str, Any]] = state["deployment"]["resources"]
    key = next(one for one in resources if name_of(one) == "authority-1-key")
    private: Any = load_pem_private_key(json.loads(key["outputs"]["privateKeyPem"]["plaintext"]).encode(), None)
    template = next(one for one in resources if name_of(one) == "authority-1-certificate")
    before = x509.load_pem_x509_certificate(template["outputs"]["certPem"].encode())
    builder = x509.CertificateBuilder(
        before.issuer, before.subject, before.public_key(), before.serial_number,
        before.not_valid_before_utc.replace(tzinfo=None), before.not_valid_after_utc.replace(tzinfo=None),
    )  # fmt: skip
    for extension in before.extensions:
        if not isinstance(extension.value, x509.AuthorityKeyIdentifier):
            builder = builder.add_extension(extension.value, critical=extension.critical)
    root = builder.sign(private, SHA384()).public_bytes(Encoding.PEM).decode()
    del template["inputs"]["setAuthorityKeyId"]
    template["outputs"]["setAuthorityKeyId"] = False  # the provider's default
    text = json.dumps(state)
    for earlier in (template["outputs"]["certPem"], shown):
        text = text.replace(json.dumps(earlier)[1:-1], json.dumps(root)[1:-1])
        text = text.replace(json.dumps(json.dumps(earlier)[1:-1])[1:-1], json.dumps(json.dumps(root)[1:-1])[1:-1])
    changed: dict[str, Any] = json.loads(text)
    return changed, root


def test_a_root_that_was_shown_as_the_provider_made_it_stays_to_the_last_byte(deployment: Stack) -> None:
    today = deployment.export()
    shown = deployment.outputs()["ca_certificate"]
    former, root = with_the_providers_own_root(deployment.export("--show-secrets"), shown)
    assert root != shown
    deployment.settled = False
    deployment.restore(former)
    planned = deployment.planned()
    deployment.pulumi("up", "--yes", "--skip-preview", "--target", deployment.urn("authority")).succeeded()
    told = deployment.outputs()["ca_certificate"]
    deployment.restore(today)
    deployment.settled = True
    # The page about the root is in an archive, where it is still that of the other one.
    assert planned.keys() <= {"caddy-release"}, "nor does anything else that hangs on it change"
    assert told == root


def in_clear_text(stack: Stack, tokens: Mapping[str, str]) -> list[str]:
    """Return the files of the engine in which a token stands in the open, as the id of random bytes."""
    ids = [base64.b64encode(bytes.fromhex(token)).decode() for name, token in tokens.items() if name != "garage-key-id"]
    return [name for name, text in stack.files() if any(id_ in text for id_ in ids)]
