"""The page about trust, as people come to it: by plain HTTP, past a warning, and by its own steps to none at all."""

import ssl
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.browser import Browser, BrowserError
from tests.e2e.stack import DOMAIN, Stack

pytestmark = pytest.mark.docker

NAMES: Final = (DOMAIN, f"*.{DOMAIN}")
SCREENS: Final = {"phone": (390, 844), "desktop": (1280, 800)}
REACHES: Final = "fetch('{url}', {{mode: 'no-cors'}}).then(() => done('yes'), () => done('no'));"
STREAMS: Final = """
const socket = new WebSocket('{url}', ['bearer', '{token}']);
socket.onopen = () => {{ socket.close(); done('yes'); }};
socket.onerror = () => done('no');
"""


def test_by_plain_http_and_by_https_it_offers_what_clients_must_trust(deployment: Stack) -> None:
    outputs = deployment.outputs()
    pem = outputs["ca_certificate"]
    der = ssl.PEM_cert_to_DER_cert(pem)
    fingerprint = subprocess.run(
        ["openssl", "x509", "-noout", "-fingerprint", "-sha256"], input=pem, capture_output=True, text=True, check=True
    ).stdout.partition("=")[2]
    assert outputs["trust_page"] == f"{outputs['url']}/trust"
    for name in (DOMAIN, "meet.reflector.test", "127.0.0.1"):
        for ask in (deployment.edge.ask_plainly, lambda path, name=name: deployment.edge.ask("GET", path, name=name)):
            assert ask("/trust/ca.pem").body.decode().strip() == pem.strip()
            assert ask("/trust/ca.crt").body == der
            assert fingerprint.strip() in ask("/trust/fingerprint.txt").body.decode()
            assert ask("/trust/ca.mobileconfig").headers["content-type"] == "application/x-apple-aspen-config"
            page = ask("/trust")
            assert page.status == 200
            assert "content-security-policy" in page.headers
    assert b"<pre>" not in deployment.edge.ask_plainly("/trust").body, "what anybody could change is not to be run"
    assert deployment.edge.ask_plainly("/").status == 308, "everything else leads to HTTPS"


def test_its_own_steps_lead_from_a_warning_to_none(deployment: Stack, tmp_path: Path) -> None:
    outputs = deployment.outputs()
    url, store = outputs["url"], outputs["storage"]["endpoint"]
    token = deployment.log_in()["Authorization"].removeprefix("Bearer ")
    reaches_store = REACHES.format(url=f"{store}/")
    streams = STREAMS.format(url=f"{url.replace('https', 'wss')}/v1/events", token=token)
    home = tmp_path / "home"
    home.mkdir()
    with Browser(url, "", NAMES, deployment.address, home=home) as browser:
        with pytest.raises(BrowserError, match="ERR_CERT_AUTHORITY_INVALID"):
            browser.open("/trust")
        browser.open(f"http://{DOMAIN}:{deployment.edge.http_port}/trust")
        assert "Compare before you install" in browser.text
        browser.go_on_regardless("/trust")
        step = "done(document.querySelector('#chrome [data-step={}]').textContent);"
        package, chromium = (browser.answer(step.format(name)) for name in ("chromium-package", "chromium"))
        fetch = browser.answer("done(document.querySelector('#chrome [data-step=fetch]').textContent);")
        browser.go_on_regardless("/")
        assert browser.answer(reaches_store) == "no", "an exception is for one name"
    # As they are printed, but that this machine has no name server that knows the domain.
    resolved = fetch.replace("curl ", f"curl --resolve {DOMAIN}:{deployment.edge.http_port}:{deployment.address} ")
    done = subprocess.run(
        ["sh", "-eu", "-c", f"{resolved}\n{package}\n{chromium}"],
        cwd=home,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with Browser(url, "", NAMES, deployment.address, home=home) as browser:
        assert "Trust this Reflector on your device" in browser.open("/trust")
        browser.open("/")
        assert browser.answer(reaches_store) == "yes"
        assert browser.answer(streams) == "yes"


def test_it_is_right_on_a_phone_and_on_a_desktop_dark_and_light(deployment: Stack, tmp_path: Path) -> None:
    outputs = deployment.outputs()
    plain = f"http://{DOMAIN}:{deployment.edge.http_port}/trust"
    widest = """
        const all = document.querySelectorAll('details');
        all.forEach(one => one.open = true);
        const width = document.documentElement.scrollWidth;
        all.forEach(one => one.open = false);
        done(width);
    """
    with Browser(outputs["url"], outputs["ca_certificate"], NAMES, deployment.address) as browser:
        for page in ("/trust", plain):
            browser.open(page)
            for screen, (width, height) in SCREENS.items():
                for dark in (False, True):
                    browser.look(width, height, dark=dark)
                    name = f"{'first-contact' if page == plain else 'trust'}-{screen}-{'dark' if dark else 'light'}"
                    browser.screenshot(tmp_path / f"{name}.png")
                    # A phone makes its view as wide as what is in it: the screen is what counts.
                    assert browser.answer(widest) <= width, name
                    ground = browser.answer("done(getComputedStyle(document.body).backgroundColor);")
                    assert (ground == "rgb(20, 23, 26)") is dark, "its own style is taken, whatever the policy says"


def test_the_steps_of_debian_make_its_programs_trust(deployment: Stack) -> None:
    image = deployment.containers()["worker"]["Image"]
    page = deployment.edge.ask("GET", "/trust").body.decode()
    blocks = page.partition('<details id="debian">')[2].partition("</details>")[0].split("<pre><code")[1:]
    fetch, install = (block.partition(">")[2].partition("</code>")[0] for block in blocks[:2])
    outputs = deployment.outputs()
    script = f"""
set -eu
sudo() {{ "$@"; }}
cd /tmp
trusted() {{ python3 -c 'import urllib.request as r; r.urlopen("{outputs["trust_page"]}", timeout=20)' 2> said; }}
! trusted
grep -q CERTIFICATE_VERIFY_FAILED said
{fetch}
{install}
trusted
"""
    deployment.host.docker(
        "run", "--rm", "--interactive", "--user", "0", "--network", f"{deployment.prefix}-application", "--entrypoint",
        "sh", image, stdin=script,
    )  # fmt: skip
