"""The identities of the edge and whom its neighbours trust, on the real engine and a real Caddy."""

import ssl
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from operations import bulk
from pki import facts, pem
from testing.certificates import issue
from tests.e2e.company import DIRECTORY, DIRECTORY_HOST, LISTED, UNLISTED, Company
from tests.e2e.edge import Edge
from tests.e2e.stack import DOMAIN, Stack

pytestmark = pytest.mark.docker

NAMES: Final = (DOMAIN, f"s3.{DOMAIN}", "meet.reflector.test")
MERGING: Final = ("server", "worker", "beat", "hatchet-worker-llm", "transcription")
"""Services whose entrypoint merges authorities into the system store."""
# As the runtime of each finds them: OpenSSL's and Python's variables, Node's, and Go's folder beside the system's file.
ASK: Final = """
import glob, os, ssl, sys, urllib.request
context = ssl.create_default_context()
if "NODE_EXTRA_CA_CERTS" in os.environ:
    context.load_verify_locations(os.environ["NODE_EXTRA_CA_CERTS"])
for folder in filter(None, os.environ.get("SSL_CERT_DIR", "").split(":")):
    for file in glob.glob(f"{folder}/*"):
        context.load_verify_locations(file)
handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
try:
    print(urllib.request.build_opener(*handlers).open(f"https://{sys.argv[1]}/", timeout=10).status)
except OSError as error:
    print(error)
"""


@pytest.fixture
def company(deployment: Stack) -> Iterator[Company]:
    """A company, whose authority the stack trusts; undone as a whole at the end."""
    file = deployment.checkout.stack_file(deployment.name)
    content = file.read_text(encoding="utf-8")
    with Company(deployment, NAMES) as started:
        deployment.configure(
            {
                "trusted_authorities.company.path": started.write("trusted.crt", started.root.der),
                "proxy.exclude": [".company.test", DIRECTORY_HOST],
            }
        )
        try:
            yield started
        finally:
            file.write_text(content, encoding="utf-8")
            deployment.__dict__.pop("edge", None)
            deployment.up()
            # What was ordered outlasts the mode. What other tests look at never ordered anything.
            deployment.inside("caddy", "sh", "-c", "rm -rf /data/caddy/*")
    deployment.wait_until_healthy()
    assert deployment.planned(refresh=True) == {}
    assert deployment.broken_wires() == {}


def test_the_edge_shows_what_it_is_told_to_and_each_role_trusts_whom_it_is_told_to(
    deployment: Stack, company: Company
) -> None:
    """One stack goes through all of them: each is an update of the one before."""
    a_certificate_of_ones_own(deployment, company)
    every_role_reaches_whom_was_named_and_nobody_else(deployment)
    one_of_the_registry(deployment, company)
    an_authority_that_is_brought_along(deployment, company)
    what_the_edge_orders(deployment, company)


def served(stack: Stack, company: Company, name: str) -> str:
    """Return the certificate shown for `name` to somebody who trusts the company alone, PEM."""
    edge = stack.settings()["edge"]
    client = Edge(
        address=stack.address,
        domain=DOMAIN,
        https_port=edge["https_port"],
        http_port=edge["http_port"],
        public_port=edge["https_port"],
        ca_pem=company.root.pem.decode(),
    )
    # What tests sign is not as strict as what the stack itself signs.
    connection = client.connect(name, ssl.create_default_context(cadata=client.ca_pem))
    try:
        return connection.certificate_pem
    finally:
        connection.close()


def fingerprint(text: str) -> str:
    (certificate,) = pem.certificates(text.encode())
    return facts.fingerprint(certificate)


def a_certificate_of_ones_own(stack: Stack, company: Company) -> None:
    """As Windows gives it: PKCS #12 with a password, the intermediate in it, a wildcard for the store."""
    authority = issue("authority of a company", company.root, now=datetime.now(UTC), ca=True)
    leaf = company.signed(DOMAIN, DOMAIN, f"*.{DOMAIN}", "meet.reflector.test", by=authority)
    bundle = pkcs12.serialize_key_and_certificates(
        b"edge",
        leaf.key,  # type: ignore[arg-type]  # no key of a test is for key agreement
        leaf.certificate,
        [authority.certificate],
        BestAvailableEncryption(b"a word nobody sees"),
    )
    stack.configure({"certificate.mode": "own", "certificate.certificate_file": company.write("edge.pfx", bundle)})
    stack.pulumi("config", "set", "--secret", "--path", "certificate.password", "a word nobody sees").succeeded()
    caddy = stack.ids()["caddy"]
    stack.up()
    for name in NAMES:
        assert fingerprint(served(stack, company, name)) == facts.fingerprint(leaf.certificate), name
    assert stack.ids()["caddy"] == caddy, "a certificate is delivered into the running container"
    entry = next(one for one in stack.outputs()["pki_inventory"] if one["name"] == "edge-certificate")
    assert entry["source"] == "own"
    key = pem.private_key_text(leaf.key).splitlines()[1]
    assert not [name for name, text in stack.files() if key in text], "the key stands in the state in the open"
    assert stack.broken_wires() == {}
    assert stack.planned(refresh=True) == {}


def every_role_reaches_whom_was_named_and_nobody_else(stack: Stack) -> None:
    for service in (*MERGING, "web", "hatchet"):
        assert stack.inside(service, "python3", "-c", ASK, LISTED).strip() == "200", service
        assert "certificate verify failed" in stack.inside(service, "python3", "-c", ASK, UNLISTED), service
    for service in MERGING:
        # By the hashes in the folder as well: OpenSSL's own way.
        command = f"openssl s_client -verify_return_error -CApath /etc/ssl/certs -connect {LISTED}:443 < /dev/null"
        assert "Verify return code: 0 (ok)" in stack.inside(service, "sh", "-c", f"{command} 2>&1"), service
    # Go itself, and a pull as behind a proxy that inspects: what is said is about the model, not about the authority.
    assert "unknown authority" in pull(stack, UNLISTED)
    said = pull(stack, LISTED)
    assert "unknown authority" not in said
    assert "manifest" in said


def pull(stack: Stack, registry: str) -> str:
    """Return why a model cannot be had from a host that has none."""
    done = subprocess.run(
        ["docker", "--host", stack.host.address, "exec", f"{stack.prefix}-ollama", "ollama", "pull",
         f"{registry}/library/none:latest"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode != 0
    return done.stdout + done.stderr


def one_of_the_registry(stack: Stack, company: Company) -> None:
    """What is brought has a name there, and who shows it is listed. Beside it are many that nobody shows."""
    leaf = company.signed(DOMAIN, DOMAIN, f"*.{DOMAIN}", "meet.reflector.test")
    files = {"certificate_file": leaf.pem, "key_file": leaf.key_pem}
    entry = {"mode": "imported", **{name: company.write(name, content) for name, content in files.items()}}
    fleet: dict[str, object] = {"services": {f"service-{number}": {} for number in range(bulk.MANY)}}
    pki = {"certificates": {"company": entry}, "fleet": fleet}
    stack.configure({"certificate": {"mode": "named", "name": "company"}, "pki": pki})
    caddy = stack.ids()["caddy"]
    assert f"{bulk.MANY} certificates are made first" in stack.up()
    assert len(of_the_fleet(stack)) == 4 * bulk.MANY
    for name in NAMES:
        assert fingerprint(served(stack, company, name)) == facts.fingerprint(leaf.certificate), name
    assert stack.ids()["caddy"] == caddy
    listed = [one for one in stack.outputs()["pki_inventory"] if "edge" in one.get("users", {})]
    assert [(one["certificate"], one["users"]) for one in listed] == [("company", {"edge": [DOMAIN]})]


def of_the_fleet(stack: Stack) -> list[str]:
    """Return the URNs of all that the certificates of the fleet consist of."""
    return [one["urn"] for one in stack.resources() if "::certificate-service-" in one["urn"]]


def an_authority_that_is_brought_along(stack: Stack, company: Company) -> None:
    stack.configure(
        {
            "certificate": {
                "mode": "signed-by",
                "authority_file": company.write("signer.crt", company.root.pem),
                "key_file": company.write("signer.key", company.root.key_pem),
            },
            "pki": {},
        }
    )
    servers = stack.ids()["server"]
    assert f"{bulk.MANY} certificates are taken away last" in stack.up()
    assert of_the_fleet(stack) == []
    leaf = served(stack, company, DOMAIN)
    assert "reflector.test" in str(pem.certificates(leaf.encode())[0].subject)
    assert stack.outputs()["ca_certificate"] == company.root.pem.decode()
    assert stack.ids()["server"] == servers, "it trusts whom it trusted before"
    assert stack.broken_wires() == {}


def what_the_edge_orders(stack: Stack, company: Company) -> None:
    stack.configure({"certificate": {"mode": "acme", "directory": DIRECTORY, "email": "me@company.test"}})
    stack.up()
    first = {name: served(stack, company, name) for name in NAMES}
    assert company.orders() == len(NAMES)
    assert stack.broken_wires() == {}
    assert stack.planned(refresh=True) == {}
    assert stack.inside("caddy", "sh", "-c", "ls /data/caddy").split().count("pki") == 0, "an authority of Caddy's own"
    # In a volume of its own: a container that is replaced orders nothing.
    stack.configure({"edge.memory_mib": 520})
    stack.up()
    assert {name: served(stack, company, name) for name in NAMES} == first
    assert company.orders() == len(NAMES)
    # Its window moved: what it has got is eighty days old, and is renewed as soon as that is seen.
    old = issue(DOMAIN, company.root, now=datetime.now(UTC), sans=[DOMAIN], from_days=-80, to_days=1)
    for suffix, content in (("crt", old.pem), ("key", old.key_pem)):
        write = f"cat > $(echo /data/caddy/certificates/*/{DOMAIN})/{DOMAIN}.{suffix}"
        stack.inside("caddy", "sh", "-c", write, stdin=content.decode())
    stack.host.docker("restart", f"{stack.prefix}-caddy")
    deadline = time.monotonic() + 60
    while (found := shown(stack, company)) in {"", first[DOMAIN], old.pem.decode()}:
        assert time.monotonic() < deadline, f"it is not renewed: {found}"
        time.sleep(0.5)
    assert company.orders() == len(NAMES) + 1


def shown(stack: Stack, company: Company) -> str:
    """Return what is shown for the domain, empty while nothing is."""
    try:
        return served(stack, company, DOMAIN)
    except OSError:
        return ""
