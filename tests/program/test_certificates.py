"""The identities of the edge, and who is trusted, in the whole program."""

import asyncio
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

import pulumi
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pki import facts, issue, offline, pem
from pki.rollover import ACTIVE, RETIRED, STATE, TRUSTED, problems
from rendering.relay import FRONT_FILE, pool
from testing.building import delivered, depends_on
from testing.certificates import Issued
from tests.program.shapes import (
    AUTHORITY_OF_A_COMPANY,
    CONFIGURED_SECRETS,
    OTHER_ROOT,
    OWN,
    ROOT_OF_A_COMPANY,
    Encrypted,
    Shape,
    run,
    settings_of,
    shape,
)
from tests.program.test_program import TRUST_VARIABLES

DIRECTORY: Final = "/usr/local/share/ca-certificates/"


def environment_of(stack: Shape, service: str) -> Mapping[str, str]:
    return dict(one.split("=", 1) for one in stack.containers[service].plain("envs"))


def uploads_of(stack: Shape, service: str) -> Mapping[str, str]:
    container = stack.containers[service]
    uploads = container.plain("uploads") if "uploads" in container.inputs else []
    return {one["file"].removeprefix(DIRECTORY): one["content"] for one in uploads if one["file"].startswith(DIRECTORY)}


def text_of(*certificates: Issued) -> str:
    return "".join(one.pem.decode() for one in certificates)


def leaf_of(stack: Shape) -> Any:
    return next(entry for entry in stack.engine.exports["pki_inventory"] if entry["name"] == "edge-certificate")


# --- Relays -----------------------------------------------------------------------------------------------------------


def test_a_relay_asks_clients_for_what_its_certificate_was_brought_with() -> None:
    stack = shape("relay")
    whom = {name: environment_of(stack, f"relay-{name}")["CLIENT_AUTHORITY"] for name in ("agents", "company")}
    assert whom == {"agents": "authority clients", "company": "certificate corp"}
    front = delivered(stack.engine.named("relay-company-release"))[FRONT_FILE]
    (root,) = pool(ROOT_OF_A_COMPANY.pem.decode())
    assert root in front
    assert "require_and_verify" in front


@pytest.mark.parametrize("name", ["authorities-declared", "authorities-deployed"])
def test_both_records_know_what_is_brought_along_and_a_root_that_has_signed_it_is_not_retired(name: str) -> None:
    stack = shape("relay")
    hook = stack.engine.hooks[f"{name}-guard"]
    before, after = (
        {"stack": {one: {STATE: state} for one, state in zip(("g1", "g2"), states, strict=True)}}
        for states in ((TRUSTED, ACTIVE), (RETIRED, ACTIVE))
    )
    asked = pulumi.ResourceHookArgs(
        urn="", id="", name=name, type="",
        old_inputs={"generations": before}, new_inputs={"generations": after},
        old_outputs={"certificates": {"stack": {"g1": ROOT_OF_A_COMPANY.pem.decode()}}},
    )  # fmt: skip
    answer = cast("Coroutine[Any, Any, None]", hook.callback(cast("Any", asked)))
    with pytest.raises(pulumi.RunError, match=r"retired, and it has signed pki\.certificates\.corp; allowed: trusted"):
        asyncio.run(answer)


# --- Identity ---------------------------------------------------------------------------------------------------------


def test_a_certificate_of_ones_own_is_shown_as_it_was_read_and_none_is_issued() -> None:
    stack = shape("own")
    assert not [name for name in stack.names if name.startswith("edge-certificate")]
    entry = leaf_of(stack)
    assert (entry["source"], entry["subject"]) == ("own", "reflector.example.com")
    # Of the whole chain the first to end.
    assert entry["expires"] == f"{OWN.certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"


def test_its_names_are_those_that_are_served_and_localhost_is_none() -> None:
    names = leaf_of(shape("own"))["names"]
    assert names == ["DNS:reflector.example.com", "DNS:s3.reflector.example.com"]


def test_keys_that_were_brought_travel_as_secrets_alone() -> None:
    """A key's first line stands for it: it has no line break in it, however it is wrapped on the way."""
    for name, key in (("own", OWN), ("signed-by", AUTHORITY_OF_A_COMPANY)):
        resources = shape(name).engine.resources
        line = key.key_pem.decode().splitlines()[1]
        assert [one.name for one in resources if line in one.open_text()] == []
    signing = [one.name for one in shape("signed-by").engine.resources if line in one.text()]
    assert signing == ["edge-certificate-1-certificate"], "the signer's key goes where it signs, and nowhere else"


def test_an_authority_that_was_brought_signs_and_the_stacks_own_stays() -> None:
    stack = shape("signed-by")
    leaf = stack.engine.named("edge-certificate-1-certificate")
    assert leaf.plain("caCertPem") == AUTHORITY_OF_A_COMPANY.pem.decode()
    assert leaf_of(stack)["source"] == "signed-by"
    assert "authority-1-key" in stack.names, "it is protected, and signs again when the mode is private again"


def test_an_authority_that_was_brought_is_in_the_inventory_with_its_end() -> None:
    entries = {entry["name"]: entry for entry in shape("signed-by").engine.exports["pki_inventory"]}
    assert list(entries) == ["authority", "edge-certificate-authority", "edge-certificate"]
    assert entries["edge-certificate-authority"].pop("details")["key"] == "P-256"
    assert entries["edge-certificate-authority"] == {
        "name": "edge-certificate-authority",
        "kind": "intermediate",
        "subject": "CN=authority of a company",
        "expires": f"{AUTHORITY_OF_A_COMPANY.certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
    }


def test_clients_of_it_are_told_of_its_root() -> None:
    exports = shape("signed-by").engine.exports
    assert exports["ca_certificate"] == exports["trust_bundle"] == text_of(ROOT_OF_A_COMPANY)


def test_where_a_public_authority_signs_nobody_has_to_be_told_of_any() -> None:
    exports = shape("lets-encrypt").engine.exports
    assert (exports["ca_certificate"], exports["trust_bundle"]) == ("", "")


@pytest.mark.parametrize("name", ["acme", "lets-encrypt"])
def test_the_edge_orders_what_it_shows(name: str) -> None:
    stack = shape(name)
    assert not [one for one in stack.names if one.startswith("edge-certificate")]
    base = environment_of(stack, "caddy")["FRONT_CADDYFILE"]
    assert "auto_https disable_redirects" in base
    assert "caddy-orders" in stack.names, "an up ends when they are there"


def test_the_key_of_an_account_is_a_variable_of_the_edge_alone_and_a_secret() -> None:
    stack = shape("acme")
    key = CONFIGURED_SECRETS["account key"]
    assert environment_of(stack, "caddy")["ACME_ACCOUNT_KEY"] == key
    assert key not in stack.containers["caddy"].open_text()
    assert "ACME_ACCOUNT_KEY" not in environment_of(shape("lets-encrypt"), "caddy")


# --- Trust ------------------------------------------------------------------------------------------------------------

MERGING: Final = ("server", "worker", "beat", "hatchet-worker-llm")


def test_each_authority_is_a_file_of_its_own_where_debian_merges_them() -> None:
    stack = shape("own")
    for service in MERGING:
        assert uploads_of(stack, service) == {
            "custom-ca.crt": text_of(OTHER_ROOT), "trusted-1.crt": text_of(ROOT_OF_A_COMPANY),
        }  # fmt: skip


def test_node_and_go_read_one_file_with_all_of_them() -> None:
    stack = shape("own")
    for service in ("web", "hatchet", "ollama"):
        assert uploads_of(stack, service) == {"custom-ca.crt": text_of(OTHER_ROOT, ROOT_OF_A_COMPANY)}
    assert environment_of(stack, "web")["NODE_EXTRA_CA_CERTS"] == f"{DIRECTORY}custom-ca.crt"
    for service in ("hatchet", "ollama"):
        # Beside the system's own, which SSL_CERT_FILE would put away.
        assert environment_of(stack, service)["SSL_CERT_DIR"] == DIRECTORY.rstrip("/")
        assert "SSL_CERT_FILE" not in environment_of(stack, service)


def test_where_nobody_was_named_nothing_is_mounted_and_no_variable_set() -> None:
    stack = shape("lets-encrypt")
    for service in stack.containers:
        assert uploads_of(stack, service) == {}
        assert not TRUST_VARIABLES & environment_of(stack, service).keys(), service


def test_what_never_calls_the_edge_is_not_told_of_its_authority() -> None:
    """So a stack that names nobody has the containers it always had."""
    stack = shape("selfhosted")
    for service in ("hatchet", "ollama", "caddy", "postgres", "garage"):
        assert uploads_of(stack, service) == {}
        assert not TRUST_VARIABLES & environment_of(stack, service).keys(), service


# --- By name ----------------------------------------------------------------------------------------------------------


def test_the_whole_registry_is_in_the_inventory_and_no_key_is() -> None:
    stack = shape("registry")
    entries = {entry.get("certificate"): entry for entry in stack.engine.exports["pki_inventory"]}
    assert entries.keys() == {None, "api", "agent", "corp", "db", "vault-server", "vault-client"}
    assert entries["corp"]["source"] == "imported"
    assert entries["corp"]["expires"] == f"{OWN.certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    assert entries["corp"]["details"]["key"] == "P-256"
    assert "pki_inventory" not in stack.engine.secret_exports
    for key in (OWN.key_pem.decode().splitlines()[1], *(line for line in stack.engine.secrets.values())):
        assert key not in str(entries)


def test_what_a_registry_has_changes_nothing_of_the_stack() -> None:
    more = {name for name in shape("registry").names if name not in shape("selfhosted").names}
    assert all(name.startswith(("certificate-", "authority-clients")) for name in more), more


# --- Under a root in a file -------------------------------------------------------------------------------------------


def test_clients_of_a_stack_under_an_offline_root_trust_that_and_are_shown_what_is_between() -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    root_key, key = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
    root = offline.root("Root in a drawer", root_key, now=now, years=20, permitted=issue.ANYTHING)
    below = offline.issuing(
        "Issuing", key, root, root_key, now=now, years=5, permitted=issue.ANYTHING, uses=offline.SERVERS_ONLY
    )
    brought = {
        "mode": "imported",
        "state": "active",
        "certificate": Encrypted(pem.certificates_text([below, root])),
        "key": Encrypted(pem.private_key_text(key)),
    }
    engine, settings = run(
        {**settings_of("selfhosted"), "pki": {"authorities": {"stack": {"generations": {"g1": brought}}}}}
    )
    assert engine.exports["ca_certificate"] == pem.certificates_text([root])
    assert "authority-1-key" not in {one.name for one in engine.resources}, "none is made here"
    leaf = engine.named("edge-certificate-1-certificate")
    assert leaf.plain("caCertPem") == pem.certificates_text([below])
    shown = delivered(engine.named("caddy-release"))
    chain = pem.certificates(shown["edge-certificate.pem"].encode())
    assert [facts.shown(one.subject) for one in chain[1:]] == [facts.shown(below.subject)]
    assert facts.signed_by(chain[0], below)
    # What signs is where it signs, and the root's key is nowhere.
    lines = [pem.private_key_text(one).splitlines()[1] for one in (key, root_key)]
    holders = [[one.type for one in engine.resources if line in one.text()] for line in lines]
    assert holders == [["tls:index/locallySignedCert:LocallySignedCert"], []]
    # Renewed by its root, it is the same authority to whoever guards rollovers.
    again = offline.renewed(below, root, root_key, now=now, years=6)
    renewed = {**brought, "certificate": Encrypted(pem.certificates_text([again, root]))}
    later, _ = run({**settings_of("selfhosted"), "pki": {"authorities": {"stack": {"generations": {"g1": renewed}}}}})
    records = [one.named("authorities-declared").plain("generations") for one in (engine, later)]
    assert problems(*records) == []
    assert later.named("edge-certificate-1-certificate").plain("caCertPem") == pem.certificates_text([again])
    assert later.exports["ca_certificate"] == engine.exports["ca_certificate"]
    assert settings.signers["stack"]["g1"].warnings == ()


# --- Hosts ------------------------------------------------------------------------------------------------------------


def test_a_host_itself_trusts_the_stack_and_the_authorities_of_others_where_that_is_set() -> None:
    stack = shape("company")
    for name in ("host-trust-store", "host-trust-registries"):
        made = stack.engine.named(name)
        files = [line.split("_")[1] for line in made.plain("environment")["AUTHORITIES"].splitlines()]
        assert files == ["stack", "company"]
        assert ROOT_OF_A_COMPANY.pem.decode() in made.plain("stdin")
    entries = {entry["name"]: entry for entry in stack.engine.exports["pki_inventory"]}
    assert entries["authority"]["users"] == {"hosts": ["main"]}


def test_where_it_is_not_set_a_host_is_told_nothing_and_the_inventory_as_well() -> None:
    stack = shape("selfhosted")
    assert not [name for name in stack.names if name.startswith("host-trust")]
    entries = {entry["name"]: entry for entry in stack.engine.exports["pki_inventory"]}
    assert "users" not in entries["authority"]


def test_no_step_of_a_rollover_is_done_before_the_host_trusts_it() -> None:
    stack = shape("company")
    deployed = stack.engine.named("authorities-deployed")
    for name in ("host-trust-store", "host-trust-registries"):
        assert depends_on(stack.engine, deployed, name)
