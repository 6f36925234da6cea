"""The page that brings a private root to people: what it offers, what it says, and what it does not load."""

import base64
import hashlib
import plistlib
import re
import shutil
import ssl
import subprocess
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import pytest
import segno

from rendering import trust_page
from rendering.trust_page import Place, Root
from testing.certificates import issue

PLACE: Final = Place(
    domain="reflector.example.com",
    url="https://reflector.example.com:8443",
    plain_url="http://reflector.example.com:8080",
    other_names=["s3.reflector.example.com", "auth.reflector.example.com"],
)
SYSTEMS: Final = (
    "windows", "macos", "debian", "fedora", "ios", "android", "firefox", "chrome", "java", "node", "python", "docker",
)  # fmt: skip
VOID: Final = {"meta", "link", "br", "wbr"}


def root(name: str = "Reflector it root") -> Root:
    """Return a root of this name."""
    made = issue(name, now=datetime.now(UTC), ca=True, to_days=3650)
    certificate = made.certificate
    return Root(
        der=made.der,
        common_name=name,
        subject=f"CN={name},O=Reflector",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


ROOT: Final = root()
FILES: Final = trust_page.files([ROOT], PLACE)
PAGE: Final = FILES[trust_page.PAGE].decode()
FIRST: Final = FILES[trust_page.FIRST_CONTACT_PAGE].decode()
OTHER: Final = root("Reflector it root 2")
TWO: Final = trust_page.files([ROOT, OTHER], PLACE)


class Reader(HTMLParser):
    """Reads a page, and fails where an element is not closed, or closed out of turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: dict[str, str] = {}
        """Text of each element with an id, and of each command by its name."""
        self._ids: list[str | None] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
            identity = known.get("id")
            step = known.get("data-step")
            assert identity is None or identity not in self.texts, f"two elements are called {identity}"
            # The same commands may be there for several systems.
            identity = identity or (step if step not in self.texts else None)
            self._ids.append(identity)
            if identity:
                self.texts[identity] = ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()
        self._ids.pop()

    def handle_data(self, data: str) -> None:
        for identity in filter(None, self._ids):
            self.texts[identity] += data

    def all(self, name: str) -> list[str]:
        """Return every value of an attribute."""
        return [value for _, attribute, value in self.attributes if attribute == name]


READ: Final = Reader(PAGE)


# --- Files ------------------------------------------------------------------------------------------------------------


def test_a_page_without_a_root_is_refused() -> None:
    with pytest.raises(ValueError, match="one root or more"):
        trust_page.files([], PLACE)


def test_every_file_has_a_media_type() -> None:
    assert FILES.keys() == {
        "index.html", "first-contact.html", "ca.pem", "ca.crt", "ca.mobileconfig", "fingerprint.txt",
    }  # fmt: skip
    for name in (*FILES, *TWO):
        assert Path(name).suffix in trust_page.MEDIA_TYPES, name


def test_pem_and_der_are_the_same_certificate() -> None:
    assert ssl.PEM_cert_to_DER_cert(FILES["ca.pem"].decode()) == FILES["ca.crt"] == ROOT.der
    assert FILES["ca.pem"].endswith(b"-----END CERTIFICATE-----\n")


def test_fingerprints_are_written_as_openssl_writes_them() -> None:
    for name, given in (("sha256", ROOT.sha256), ("sha1", ROOT.sha1)):
        said = subprocess.run(
            ["openssl", "x509", "-inform", "DER", "-noout", "-fingerprint", f"-{name}"],
            input=ROOT.der,
            capture_output=True,
            check=True,
        ).stdout.decode()
        assert said.strip().endswith(f"Fingerprint={given}")
        assert given in FILES["fingerprint.txt"].decode()


def test_the_profile_holds_the_root_and_is_the_same_each_time() -> None:
    profile = plistlib.loads(FILES["ca.mobileconfig"])
    (payload,) = profile["PayloadContent"]
    assert payload["PayloadType"] == "com.apple.security.root"
    assert payload["PayloadContent"] == ROOT.der
    assert payload["PayloadCertificateFileName"] == "reflector-it-root.crt"
    assert trust_page.files([ROOT], PLACE) == FILES
    other = plistlib.loads(trust_page.files([OTHER], PLACE)["ca.mobileconfig"])
    assert other["PayloadIdentifier"] == profile["PayloadIdentifier"], "it takes the place of the one before"
    assert other["PayloadUUID"] != profile["PayloadUUID"]
    identities = [profile["PayloadUUID"], payload["PayloadUUID"], other["PayloadContent"][0]["PayloadUUID"]]
    assert len(set(identities)) == 3
    for one in identities:
        assert re.fullmatch(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", one)


def test_of_several_roots_each_is_offered_and_all_are_in_one_file() -> None:
    assert TWO["ca.pem"].decode() == ROOT.pem + OTHER.pem
    assert (TWO["ca.crt"], TWO["ca-2.crt"]) == (ROOT.der, OTHER.der)
    assert (TWO["ca-1.pem"].decode(), TWO["ca-2.pem"].decode()) == (ROOT.pem, OTHER.pem)
    held = [one["PayloadContent"] for one in plistlib.loads(TWO["ca.mobileconfig"])["PayloadContent"]]
    assert held == [ROOT.der, OTHER.der]
    read = Reader(TWO["index.html"].decode())
    for fingerprint in (ROOT.sha256, OTHER.sha256):
        for system in SYSTEMS:
            found = fingerprint in read.texts[system] or fingerprint.replace(":", "") in read.texts[system]
            assert found, (system, fingerprint)
        assert fingerprint in TWO["fingerprint.txt"].decode()
    assert {"/trust/ca.crt", "/trust/ca-2.crt"} <= set(read.all("href"))


def test_roots_of_one_name_have_files_of_their_own() -> None:
    pages = trust_page.files([ROOT, root("Reflector it root")], PLACE)
    names = {value for value in Reader(pages["index.html"].decode()).all("download") if value.endswith(".crt")}
    assert len(names) == 2


# --- Pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [PAGE, FIRST, TWO["index.html"].decode()], ids=["page", "first contact", "two roots"])
def test_a_page_is_well_formed_and_loads_nothing(page: str) -> None:
    read = Reader(page)
    assert "<script" not in page
    assert "javascript:" not in page
    assert read.all("src") == read.all("srcset") == read.all("style") == []
    assert not [name for _, name, _ in read.attributes if name.startswith("on")]
    assert "url(" not in page and "@import" not in page
    assert [value for tag, name, value in read.attributes if (tag, name) == ("link", "href")] == ["data:,"]
    for link in read.all("href"):
        known = link.startswith((f"{trust_page.PATH}/", f"{PLACE.url}{trust_page.PATH}", "#", "data:,"))
        assert known, f"{link} leads elsewhere"
    for link in read.all("href"):
        if link.startswith(f"{trust_page.PATH}/"):
            assert link.removeprefix(f"{trust_page.PATH}/") in {**FILES, **TWO}, link


def test_the_policy_allows_the_pages_own_style_and_no_script() -> None:
    policy = dict(part.strip().split(" ", 1) for part in trust_page.CONTENT_SECURITY_POLICY.split(";"))
    assert policy["default-src"] == "'none'"
    assert not {"script-src", "connect-src"} & policy.keys()
    for page in (PAGE, FIRST):
        (style,) = re.findall("<style>(.*?)</style>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert policy["style-src"] == f"'sha256-{digest}'"


@pytest.mark.parametrize("page", [PAGE, FIRST])
def test_a_page_shows_whose_certificate_it_is(page: str) -> None:
    assert "CN=Reflector it root,O=Reflector" in page
    assert f'datetime="{ROOT.not_after:%Y-%m-%d}"' in page
    shown = re.sub("<[^>]*>", "", page)
    assert ROOT.sha256 in shown
    assert ROOT.sha1 in shown
    assert 'download="reflector-it-root.crt"' in page


def test_what_is_in_a_certificate_is_text_to_a_page() -> None:
    evil = root("<script>alert(1)</script> $(reboot) ' & \"")
    page = trust_page.files([evil], PLACE)["index.html"].decode()
    assert "<script" not in page
    commands = Reader(page).texts["chromium"]
    assert "-n '<script>alert(1)</script> $(reboot) '\"'\"' & \"'" in commands, "the shell takes it for text too"


def test_over_plain_http_there_is_nothing_to_run() -> None:
    assert "<pre>" not in FIRST
    assert "<code" not in FIRST
    assert f'href="{PLACE.url}/trust"' in FIRST


def test_it_says_that_an_exception_is_not_enough_and_one_certificate_is() -> None:
    said = re.sub("<[^>]*>", "", PAGE)
    assert "Clicking through the warning is not enough" in said
    for word in ("WebSocket", "second name", "reflector.example.com, s3.reflector.example.com and auth."):
        assert word in said


# --- Steps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_steps_of_each_system_are_about_this_authority(system: str) -> None:
    steps = READ.texts[system]
    assert ROOT.sha256 in steps or ROOT.sha256.replace(":", "") in steps
    assert "reflector-it-root" in steps or "Reflector it root" in steps
    assert f"{PLACE.plain_url}/trust" in steps


def test_every_system_is_there_once_and_closed() -> None:
    assert re.findall('<details id="([a-z]+)">', PAGE) == list(SYSTEMS)
    assert PAGE.count("<details") == len(SYSTEMS) == PAGE.count("<summary>")


@pytest.mark.parametrize(
    ("system", "words"),
    [
        ("windows", [r"Cert:\LocalMachine\Root", "Trusted Root Certification Authorities", "Thumbprint"]),
        ("macos", ["add-trusted-cert -d -r trustRoot", "Always Trust"]),
        ("debian", ["/usr/local/share/ca-certificates/reflector-it-root.crt", "update-ca-certificates"]),
        ("fedora", ["/etc/pki/ca-trust/source/anchors/", "update-ca-trust"]),
        ("ios", ["Certificate Trust Settings", "Profile Downloaded", "ca.mobileconfig"]),
        ("android", ["Install a certificate", "CA certificate"]),
        ("firefox", ["Trust this CA to identify websites", "policies.json", '"Install"', "ImportEnterpriseRoots"]),
        ("chrome", ["$HOME/.pki/nssdb", "$HOME/.local/share/pki/nssdb", "snap/chromium/current", ".var/app",
                    "certutil -N", "certutil -L", "libnss3-tools"]),
        ("java", ["keytool -importcert", "-cacerts"]),
        ("node", ["NODE_EXTRA_CA_CERTS"]),
        ("python", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "certifi"]),
        ("docker", ["/etc/docker/certs.d/reflector.example.com:8443/ca.crt", "update-ca-certificates"]),
    ],
)  # fmt: skip
def test_the_steps_name_what_each_system_calls_it(system: str, words: list[str]) -> None:
    for word in words:
        assert word in READ.texts[system], word


def run(commands: str, folder: Path) -> str:
    """Run commands of the page as somebody whose home is `folder`, without the network."""
    done = subprocess.run(
        ["sh", "-eu", "-c", commands],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_check_that_is_printed_passes_this_certificate_and_no_other(tmp_path: Path) -> None:
    check = READ.texts["fetch"].splitlines()[1]
    (tmp_path / "reflector-it-root.pem").write_text(ROOT.pem)
    assert ROOT.sha256 in run(check, tmp_path)
    (tmp_path / "reflector-it-root.pem").write_text(OTHER.pem)
    with pytest.raises(AssertionError):
        run(check, tmp_path)


def test_the_steps_of_chromium_make_a_store_and_use_every_one_that_is_there(tmp_path: Path) -> None:
    if shutil.which("certutil") is None:
        pytest.skip("certutil is missing: libnss3-tools")
    (tmp_path / "reflector-it-root.pem").write_text(ROOT.pem)
    old, new = tmp_path / ".pki" / "nssdb", tmp_path / ".local" / "share" / "pki" / "nssdb"
    steps = f"{READ.texts['chromium-package']}\n{READ.texts['chromium']}"
    listed = run(steps, tmp_path)
    assert re.search(r"Reflector it root +C,,", listed)
    assert (old / "cert9.db").exists() and not new.exists(), "every version reads the older one"
    shutil.rmtree(old)
    new.mkdir(parents=True)
    assert re.search(r"Reflector it root +C,,", run(steps, tmp_path))
    assert (new / "cert9.db").exists() and not old.exists(), "what is in the store in use stays in use"
    for packaging in ("snap", "flatpak"):
        assert "Reflector it root" in run(f"{READ.texts[f'chromium-{packaging}']}\n{READ.texts['chromium']}", tmp_path)


def test_the_bundle_of_python_has_public_roots_and_ours(tmp_path: Path) -> None:
    (tmp_path / "reflector-it-root.pem").write_text(ROOT.pem)
    public = tmp_path / "public.pem"
    public.write_text(OTHER.pem.rstrip("\n"))
    steps = READ.texts["merge"].replace("python3 -m certifi", f"echo {public}")
    run(steps, tmp_path)
    assert (tmp_path / "public-and-reflector-it-root.pem").read_text() == OTHER.pem + ROOT.pem
    assert "public-and-reflector-it-root.pem" in READ.texts["python"]


# --- QR code ----------------------------------------------------------------------------------------------------------


def modules(svg: str) -> list[list[bool]]:
    """Return the dark modules of a code, without its border, from the lines it is drawn with."""
    (side,) = {int(size) for size in re.findall(r'viewBox="0 0 (\d+) \1"', svg)}
    (path,) = re.findall(r'<path [^>]*stroke="#14171a"[^>]*>', svg) or re.findall(r"<path [^>]*stroke[^>]*>", svg)
    drawn = [[False] * side for _ in range(side)]
    (commands,) = re.findall(r' d="([^"]*)"', path)
    x = y = 0.0
    for letter, numbers in re.findall(r"([Mmh])([^Mmh]*)", commands):
        values = [float(one) for one in re.findall(r"-?[\d.]+", numbers)]
        match letter:
            case "M":
                x, y = values
            case "m":
                x, y = x + values[0], y + values[1]
            case _:
                for column in range(int(x), int(x + values[0])):
                    drawn[int(y)][column] = True
                x += values[0]
    return [row[2:-2] for row in drawn[2:-2]]


def test_the_code_leads_to_first_contact_by_plain_http() -> None:
    (svg,) = re.findall("<svg.*?</svg>", PAGE, re.DOTALL)
    expected = [[bool(one) for one in row] for row in segno.make_qr(f"{PLACE.plain_url}/trust", error="m").matrix]
    assert modules(svg) == expected
    assert 'fill="#fff"' in svg, "a camera wants dark on light, whatever the page's colours are"
