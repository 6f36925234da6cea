"""A stack without any name: pages, API, sign-in and store at an address of the Docker host, each by a port."""

import json
import os
from typing import Any, Final

from testing.docker import free_port
from tests.e2e.browser import Browser
from tests.e2e.docker_host import DockerHost
from tests.e2e.stack import Stack

# As Reflector's own client is made; prints URLs to put and to get an object by.
PRESIGN: Final = """
import json, os, sys
import botocore.session
from botocore.config import Config
prefix = "TRANSCRIPT_STORAGE_AWS_"
told = {name.removeprefix(prefix): value for name, value in os.environ.items()}
client = botocore.session.get_session().create_client(
    "s3", region_name=told["REGION"], endpoint_url=told["ENDPOINT_URL"], aws_access_key_id=told["ACCESS_KEY_ID"],
    aws_secret_access_key=told["SECRET_ACCESS_KEY"],
    config=Config(signature_version="s3v4", s3={"addressing_style": "path"}))
where = {"Bucket": told["BUCKET_NAME"], "Key": sys.argv[1]}
print(json.dumps({one: client.generate_presigned_url(f"{one}_object", Params=where) for one in ("put", "get")}))
"""


def address_of(host: DockerHost) -> str:
    """Return an address of this machine that is none of its loopback: its side of Docker's bridge."""
    return host.docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}").strip()


def move_to(stack: Stack, address: str) -> None:
    """Move a stack with an Authentik of its own to an address; whoever calls puts its file and `address` back."""
    stack.configure(
        {
            "edge.domain": address,
            "edge.bind_addresses": [address],
            "storage.https_port": free_port(),
            "sign_in.https_port": free_port(),
        },
        # Names have no place there, and the administrator is to be who it is where none is set.
        without=["edge.extra_names", "sign_in.domain", "sign_in.admin_email"],
    )
    stack.address = address
    stack.__dict__.pop("edge", None)
    stack.up()
    stack.wait_until_healthy()


def works_as_a_whole_at(stack: Stack, address: str) -> None:
    """Look at pages, API, sign-in and store of a stack that was moved to an address."""
    edge, settings, outputs = stack.edge, stack.settings(), stack.outputs()
    store, sign_in = (f"https://{address}:{settings[group]['https_port']}" for group in ("storage", "sign_in"))
    assert outputs["url"] == f"https://{address}:{edge.https_port}"
    assert (outputs["storage"]["endpoint"], outputs["sign_in"]["url"]) == (store, sign_in)
    # Each role asks the edge, the store and the provider as everybody does: by the address, past the Docker host.
    assert stack.broken_wires() == {}
    assert stack.containers().keys() == stack.services
    assert stack.planned(refresh=True) == {}

    the_certificate_carries_the_address(stack, address)
    somebody_signs_in_by_browser(stack, address, sign_in)
    objects_go_there_and_back(stack, address, store)
    nobody_else_is_served_there(stack, address)


def the_certificate_carries_the_address(stack: Stack, address: str) -> None:
    """Of each port, to a client that sends no name in TLS, as none does that uses an address."""
    ports = (stack.edge.https_port, *stack.edge.own_ports)
    shown = []
    for port in ports:
        connection = stack.edge.connect(port=port)
        shown.append(connection.certificate)
        connection.close()
    assert len({one["serialNumber"] for one in shown}) == 1
    assert ("IP Address", address) in shown[0]["subjectAltName"]
    plain = stack.edge.ask_plainly("/rooms")
    assert (plain.status, plain.headers["location"]) == (308, f"{stack.outputs()['url']}/rooms")
    page = stack.edge.ask_plainly("/trust")
    assert (page.status, address.encode() in page.body) == (200, True)


def somebody_signs_in_by_browser(stack: Stack, address: str, sign_in: str) -> None:
    url = stack.outputs()["url"]
    with Browser(url=url, ca_pem=stack.edge.ca_pem, names=[], address=address) as browser:
        browser.sign_in("admin", stack.initial_password("admin"))
        assert browser.whoami() == stack.outputs()["admin_email"] == "admin@reflector.localhost"
        session: dict[str, Any] = browser.session()
        browser.forget()
        who = browser.sign_in("jane", stack.initial_password("jane"))
        assert who == "jane@reflector.test", "who was known before the move has the same password"
    user = {"Authorization": f"Bearer {session['accessToken']}"}
    assert stack.edge.ask("GET", "/v1/me", headers=user).status == 200
    assert stack.edge.ask("GET", "/v1/me").status == 401
    connection = stack.edge.ask_for_events(user)
    assert connection.getresponse().status == 101, "a WebSocket"
    connection.close()
    discovery = stack.edge.fetch(f"{sign_in}/application/o/reflector/.well-known/openid-configuration")
    assert discovery.json()["issuer"] == f"{sign_in}/application/o/reflector/"


def objects_go_there_and_back(stack: Stack, address: str, store: str) -> None:
    """By presigned URLs, of which the port is as much signed as the address."""
    content = os.urandom(64 * 1024)
    urls = json.loads(stack.inside("worker", "python3", "-c", PRESIGN, f"e2e/{os.urandom(8).hex()}"))
    assert all(url.startswith(f"{store}/") for url in urls.values())
    assert stack.edge.fetch(urls["put"], "PUT", content).status == 200
    answer = stack.edge.fetch(urls["get"])
    assert (answer.status, answer.body) == (200, content)
    target = urls["get"].removeprefix(store)
    # At the port of another site it is nothing, and under another port in Host it is not what was signed.
    (port, _) = stack.edge.own_ports
    moved = {"Host": f"{address}:{stack.edge.https_port}"}
    assert stack.edge.ask("GET", target).status in {401, 404}
    assert stack.edge.ask("GET", target, headers=moved, port=port).status == 403
    # What pages of the application may do there from a browser.
    origin = {"Origin": stack.outputs()["url"], "Access-Control-Request-Method": "PUT", "Host": f"{address}:{port}"}
    allowed = stack.edge.ask("OPTIONS", urls["put"].removeprefix(store), headers=origin, port=port)
    assert allowed.headers["access-control-allow-origin"] == stack.outputs()["url"]


def nobody_else_is_served_there(stack: Stack, address: str) -> None:
    for port in (None, *stack.edge.own_ports):
        for foreign in ("192.0.2.77", "reflector.test", f"s3.{address}"):
            answer = stack.edge.ask("GET", "/", headers={"Host": foreign}, port=port)
            assert answer.status == 421, (port, foreign)
    # By which port a request came is not a client's to say.
    store, sign_in = stack.edge.own_ports
    asked = stack.edge.ask("GET", "/health", headers={"Host": f"{address}:{store}"})
    assert asked.status == 200, "it is the application's, whatever port it names"
    claimed = stack.edge.ask("GET", "/v1/config", headers={"Host": f"{address}:{stack.edge.https_port}"}, port=sign_in)
    assert claimed.status == 404, "it is Authentik's"
    header = stack.edge.ask("GET", "/").headers
    assert "strict-transport-security" not in header
