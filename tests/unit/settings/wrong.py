"""Wrong values as they are pasted, guessed and misunderstood, each with what is said of it: a part of the one table."""

from collections.abc import Iterator
from typing import Any, Final

from settings import ALL_SERVICES
from testing.certificates import certificate, ec_public_key, rsa_private_key, rsa_public_key
from tests.unit.settings.examples import SEALED

Row = tuple[dict[str, Any], str, str, str]
"""The settings, path of the problem, what was given, what is allowed."""

HOST_NAME: Final = "a host name of letters, digits and hyphens, such as reflector.example.com"
DOMAIN: Final = f"{HOST_NAME}, or localhost"
OR_ADDRESS: Final = "or localhost, or an IPv4 or IPv6 address of the Docker host, without brackets"
EDGE_DOMAIN: Final = f"{HOST_NAME}, {OR_ADDRESS}"
DOTTED: Final = "a host name with a dot in it, such as reflector.example.com"
DOCKER_HOST: Final = "unix:///<path>, ssh://<user>@<host>[:<port>] or tcp://<host>:<port>"
BRACKETS: Final = "an IPv6 address in brackets, such as tcp://[2001:db8::1]:2376"
ADDRESS: Final = "an IPv4 address, or an IPv6 address without a zone"
PROXY: Final = "an IPv4 or IPv6 address, or a network such as 10.0.0.0/24"
NOT_ALL: Final = "the networks your proxies are in, not all there are: anybody could name another's address"
ONE_MACHINE: Final = "an address of one machine, not of a group"
NAME: Final = "DNS:<host name> or IP:<address>"
BUCKET: Final = (
    "3 to 63 lower-case letters, digits, dots and hyphens, with a letter or digit before and after each dot; no "
    "address, no xn--… and no …-s3alias"
)
AWS_BUCKET: Final = (
    "a name AWS does not keep for itself: none that begins with sthree- or amzn-s3-demo-, or ends in --ol-s3 or "
    "--x-s3 or --table-s3 or .mrap"
)
EMAIL: Final = "an e-mail address as browsers take it, such as admin@reflector.example.com"
MODEL: Final = "a model name: one word that does not start with a hyphen"
URL: Final = "a URL of the form http[s]://<host>[:<port>][/<path>]"
WITHOUT_SPACES: Final = f"{URL}, without spaces and line breaks"
FILLED_IN: Final = f"{URL}, with what stands for something of your own filled in"
WITHOUT_USER: Final = f"{URL}, without user and password: a key has a setting of its own"
WITHOUT_QUERY: Final = f"{URL}, without a query and a fragment"
REACHED: Final = (
    f"{URL}, with a host containers reach: to them this one is the container itself or nobody; the Docker host is "
    "reached by its name or address in the network"
)
ELSEWHERE: Final = (
    "the URL of something elsewhere: inside the stack its host is one of the stack's own services; what runs on the "
    "Docker host is reached by its address, or by another name of it"
)
BASE_URL: Final = "the base URL alone, which ends in /v1 or the like: what is called there is added to it"
STORE_URL: Final = "the URL of the store without a path: the bucket is added to it"
STORE_HOST: Final = "the URL of a store whose host name has letters, digits and hyphens"
WITHOUT_BUCKET: Final = "the URL of the store without the bucket: it is added to it"
IMAGE: Final = "an image reference with a digest (@sha256:…) or an exact version tag, never latest"
WITHOUT_SCHEME: Final = "an image reference without a scheme, such as registry.example.com/redis:7.2.1"
GPUS: Final = "all, or device=<index or UUID>[,…]"
WORD: Final = "one word without spaces"
REGION: Final = "a region as the store calls it, such as eu-central-1"
AWS_REGION: Final = "a region of AWS, such as eu-central-1, not a zone in it"
FOLDER: Final = "the path of a folder"
BROWSERS: Final = "a port browsers ask, such as 8443: this one they take for another protocol's"

HTTPS_URL: Final = "a URL of the form https://<host>[:<port>]/<path>: passwords and tokens go there"
WITHOUT_SLASH: Final = "the issuer without the slash at its end: what is called there is added to it, slash and all"
WITHOUT_DISCOVERY: Final = "the issuer without /.well-known/openid-configuration, which is added to it"
PUBLIC_KEY: Final = "one RSA public key in PEM (BEGIN PUBLIC KEY), not"
USER_NAME: Final = (
    "lower-case letters, digits and . _ @ + - with a letter or digit at both ends, other than admin and akadmin, who "
    "are there anyway"
)
GROUP_NAME: Final = (
    "letters, digits, blanks and . _ - with a letter or digit at both ends, and not beginning with authentik"
)
SLUG: Final = (
    "lower-case letters, digits and hyphens, and none of authorize, token, userinfo, introspect, revoke, device, which "
    "are paths of Authentik's own"
)
TITLE: Final = "one line of 100 characters or fewer, without blanks around it"

OIDC: Final[dict[str, Any]] = {
    "mode": "oidc", "issuer": "https://a.test/realms/x", "token_url": "https://a.test/token", "client_id": "reflector",
    "client_secret": SEALED, "public_key": rsa_public_key(),
}  # fmt: skip
AUTHENTIK: Final[dict[str, Any]] = {"mode": "authentik"}
OLLAMA: Final = {"mode": "ollama"}
MODEL_ELSEWHERE: Final = {"mode": "external", "url": "https://a.test/v1", "model": "m"}
HOSTED: Final = {"mode": "hosted", "url": "https://a.test"}
CONTAINER: Final = {
    "speech": {"mode": "container"},
    "images": {"mode": "upstream", "references": {"transcription": "speech:1.2.3"}},
}
STORE: Final = {"mode": "external", "region": "r", "access_key_id": "k", "secret_access_key": SEALED}
AWS: Final = {"mode": "s3", "region": "eu-central-1", "bucket": "own"}
GARAGE: Final = {"mode": "garage"}
PORTS: Final = ("https_port", "http_port", "public_port")
URLS: Final = (("speech", HOSTED, "url"), ("language_model", MODEL_ELSEWHERE, "url"), ("storage", STORE, "endpoint"))
"""Every URL containers call: concern, the rest of it, name."""

SECRET_WORDS: Final = (
    "HandedSecret\n", "\nHandedSecret", " HandedSecret", "HandedSecret\r\n", "Handed\nSecret", "HandedSecret\t",
    "Bearer HandedSecret", "HandedSecret\x00", "\ufeffHandedSecret", "HandedSecret\u200b", "“HandedSecret”",
    "HandedSecrét",
)  # fmt: skip
"""What no key is, and a paste may leave."""


def _addresses() -> Iterator[Row]:
    for text in (
        " ssh://me@host.test", "ssh://me@host.test\n", "ssh://me@ho st.test", "ssh://us er@host.test",
        "tcp://host.test:2376 ", "tcp://host.test:2376\n", "\ttcp://host.test:2376", "unix:///run/docker.sock\n",
        "unix:///run/docker.sock?x=1", "unix:///run/docker.sock#x", "unix:///run/", "unix:///",
        "ssh://-oProxyCommand=x@host.test", "ssh://-oProxyCommand=x/", "ssh://me@-host.test", "ssh://u@h?x=y",
        "ssh://me@host.test#x", "ssh://me@host.test/run/docker.sock", "ssh://me@host.test//", "ssh://me@host.test:",
        "ssh://me@host.test:0", "ssh://me@host.test:65536", "ssh://me@1.2.3.0x4", "ssh://@host.test",
        "ssh://me@[fe80::1%25eth0]", "ssh://me@[nothing]", "ssh://me@<host>", "ssh:me@host.test",
        "tcp://me@host.test:2376", "tcp://host.test:2376/x", "tcp://host.test:2376?tls=1", "tcp://-x:2376",
        "tcp://300.1.1.1:2376", "fd://", "npipe:////./pipe/docker_engine", "https://host.test:2376",
    ):  # fmt: skip
        shown = text.replace("?x=1", "?[secret]").replace("?x=y", "?[secret]").replace("?tls=1", "?[secret]")
        yield {"hosts": {"main": {"address": text}}}, "hosts.main.address", repr(shown), DOCKER_HOST
    for text in ("tcp://2001:db8::1:2376", "ssh://root@2001:db8::1", "tcp://::1:2376", "ssh://2001:db8::1/"):
        yield {"hosts": {"main": {"address": text}}}, "hosts.main.address", repr(text), BRACKETS
    # In capitals it is the same scheme, and needs the same certificates.
    for text in ("TCP://10.0.0.5:2375", "Tcp://10.0.0.5:2375"):
        yield (
            {"hosts": {"main": {"address": text}}}, "hosts.main.certificates", "nothing",
            "a folder with ca.pem, cert.pem, key.pem: address is tcp://",
        )  # fmt: skip
    for text in (" /certs", "/certs\n", "/certs ", "", "/ce\x00rts"):
        tree = {"hosts": {"main": {"address": "tcp://host.test:2376", "certificates": text}}}
        yield tree, "hosts.main.certificates", repr(text), FOLDER


def _names() -> Iterator[Row]:
    for text in (
        " a.test", "a.test\n", "a .test", "a.test.", "https://a.test", "a.test:8443", "a.test/", "me@a.test", "[::1]",
        "1.2.3.0x4", "1.2.3.4.5", "0x7f000001", "a.0x", "a.123", "x" * 62 + ".ä" * 64, "bad_ä.test", "a.ſ",
        "xn--zzzzzz.test", "a.test,b.test", "<domain>", "reflector.example.com\u200b",
    ):  # fmt: skip
        yield {"edge": {"domain": text}}, "edge.domain", repr(text), EDGE_DOMAIN
        yield {"storage": {**GARAGE, "domain": text}}, "storage.domain", repr(text), HOST_NAME
        yield (
            {"edge": {"extra_names": [f"DNS:{text}"]}}, "edge.extra_names[0]", repr(f"DNS:{text}"),
            f"DNS:<value> with {HOST_NAME}",
        )  # fmt: skip
    for text in ("reflector", "intranet", "münchen", "Server", *ALL_SERVICES):
        yield {"edge": {"domain": text}}, "edge.domain", repr(text), f"{DOTTED}, {OR_ADDRESS}"
    for text in ("s3", "localhost", "LocalHost", *ALL_SERVICES):
        yield {"storage": {**GARAGE, "domain": text}}, "storage.domain", repr(text), DOTTED
    longest = ".".join(["x" * 62] * 4)
    yield (
        {"edge": {"domain": longest}}, "storage.domain", "nothing, and s3.<domain> has 254 characters",
        "a host name of its own, of 253 characters or fewer",
    )  # fmt: skip
    for text, allowed in (
        ("IP:0.0.0.0", "an address people connect to"), ("IP:::", "an address people connect to"),
        ("IP:0:0:0:0:0:0:0:0", "an address people connect to"), ("IP:224.0.0.1", ONE_MACHINE),
        ("IP:ff02::1", ONE_MACHINE), ("IP:255.255.255.255", ONE_MACHINE), ("IP: 192.0.2.1", ADDRESS),
        ("IP:192.0.2.1\n", ADDRESS), ("IP:[2001:db8::1]", ADDRESS), ("IP:192.0.2.1/24", ADDRESS),
        ("IP:192.0.2.01", ADDRESS), ("IP:192.0.2.1:8443", ADDRESS), ("IP:reflector.test", ADDRESS),
    ):  # fmt: skip
        tree = {"edge": {"extra_names": ["DNS:a.test", text]}}
        yield tree, "edge.extra_names[1]", repr(text), f"IP:<value> with {allowed}"
    for text in ("dns:a.test", " DNS:a.test", "", "email:me@a.test"):
        yield {"edge": {"extra_names": [text]}}, "edge.extra_names[0]", repr(text), NAME
    for text, allowed in (
        ("192.0.2.1\n", ADDRESS), (" 192.0.2.1", ADDRESS), ("192.0.2.0/24", ADDRESS), ("[::1]", ADDRESS),
        ("*", ADDRESS), ("0x7f.1", ADDRESS), ("224.0.0.251", ONE_MACHINE), ("ff02::fb", ONE_MACHINE),
        ("255.255.255.255", ONE_MACHINE),
    ):  # fmt: skip
        yield {"edge": {"bind_addresses": [text]}}, "edge.bind_addresses[0]", repr(text), allowed
    for text, allowed in (
        ("10.0.0.0/33", PROXY), ("10.0.0.0/", PROXY), ("/8", PROXY), ("10.0.0.*", PROXY), ("10.0.0.1-9", PROXY),
        ("proxy.test", PROXY), ("[2001:db8::1]", PROXY), ("fe80::1%eth0", PROXY), ("fe80::%eth0/64", PROXY),
        ("private_ranges", PROXY), ("10.0.0.1:80", PROXY), ("10.0.0.0/8\n", PROXY), ("10.0.0.0/8, 192.0.2.1", PROXY),
        ("0.0.0.0", PROXY), ("::", PROXY), ("224.0.0.0/4", PROXY), ("ff02::/16", PROXY),
        ("0.0.0.0/0", NOT_ALL), ("::/0", NOT_ALL), ("10.0.0.1/0", NOT_ALL), ("0.0.0.0/0.0.0.0", NOT_ALL),
        ("::ffff:10.0.0.0/104", "an IPv4 address or network in its own form, such as 10.0.0.0/24"),
        ("10.0.0.1/8", "a network without bits of a machine in it: 10.0.0.0/8, or the machine alone, without /"),
        (
            "2001:db8::7/64",
            "a network without bits of a machine in it: 2001:db8::/64, or the machine alone, without /",
        ),
    ):  # fmt: skip
        yield {"edge": {"trusted_proxies": ["192.0.2.1", text]}}, "edge.trusted_proxies[1]", repr(text), allowed
    yield (
        {"edge": {"proxy_protocol": True}}, "edge.trusted_proxies", "nothing, while proxy_protocol is true",
        "the addresses of the proxies that speak it: of others it is refused",
    )  # fmt: skip
    for halves in (["0.0.0.0/1", "128.0.0.0/1"], ["8000::/1", "10.0.0.0/8", "::/1"]):
        yield (
            {"edge": {"trusted_proxies": halves}}, "edge.trusted_proxies", "networks that together are all there are",
            "the networks your proxies are in: anybody could name another's address",
        )  # fmt: skip
    for port in (1, 22, 25, 6000, 6665, 10080):
        for name in PORTS:
            yield {"edge": {name: port}}, f"edge.{name}", str(port), BROWSERS


def _urls() -> Iterator[Row]:
    for text, allowed in (
        (" https://a.test", WITHOUT_SPACES), ("https://a.test\n", WITHOUT_SPACES), ("https://a.test ", WITHOUT_SPACES),
        ("https://a .test", WITHOUT_SPACES), ("https://a.test/v 1", WITHOUT_SPACES),
        ("https://a.te\nst", WITHOUT_SPACES), ("https://a.test\r", WITHOUT_SPACES),
        ("\ufeffhttps://a.test", WITHOUT_SPACES), ("", WITHOUT_SPACES),
        ("https://<your-endpoint>/v1", FILLED_IN), ("https://{endpoint}/v1", FILLED_IN),
        ("https://your-endpoint/v1", FILLED_IN), ("https://your_resource.models.test", FILLED_IN),
        ("https://a.test/<path>", FILLED_IN), ("https://YOUR-HOST.test", FILLED_IN), ("https://…", FILLED_IN),
        ("ftp://a.test", URL), ("a.test", URL), ("//a.test", URL), ("https:/a.test", URL), ("https://", URL),
        ("https://a.test:notaport", URL), ("https://[", URL), ("https://a.test:0", URL), ("https://a.test:65536", URL),
        ("https://a.test:", URL), ("https://-a.test", URL), ("https://a..test", URL), ("https://a.test.", URL),
        ("https://1.2.3.0x4", URL), ("https://2130706433", URL), ("https://300.1.1.1", URL),
        ("https://[fe80::1%25x]", URL), ("https://2001:db8::1", URL), ("https://a.test\\v1", URL),
        ("https://a.test/ä", URL), ("https://:443", URL),
        ("https://a.test,https://b.test", URL), ("https://bad_ä.test", URL), ("https://ſ3.test", URL),
        ("http://localhost", REACHED), ("http://LocalHost:11434", REACHED), ("http://127.0.0.1", REACHED),
        ("http://127.1.2.3:8000", REACHED), ("http://[::1]:8000", REACHED), ("http://0.0.0.0", REACHED),
        ("http://[::]", REACHED), ("http://host.docker.internal", REACHED), ("http://models.localhost", REACHED),
        ("http://[::ffff:127.0.0.1]", REACHED), ("http://gateway.docker.internal:1234", REACHED),
        ("http://localhost.localdomain", REACHED), ("http://224.0.0.1", REACHED),
        *((f"http://{service}:8000", ELSEWHERE) for service in ALL_SERVICES),
    ):  # fmt: skip
        for concern, content, name in URLS:
            yield {concern: {**content, name: text}}, f"{concern}.{name}", repr(text), allowed
    for concern, content, name in URLS:
        for text, shown, allowed in (
            ("https://me:HandedSecret@a.test", "https://[secret]@a.test", WITHOUT_USER),
            ("https://HandedSecret@a.test", "https://[secret]@a.test", WITHOUT_USER),
            ("https://me:Handed/HandedSecret@a.test", "https://[secret]@a.test", URL),
            ("https://a.test?key=HandedSecret", "https://a.test?[secret]", WITHOUT_QUERY),
            ("https://a.test/v1?key=HandedSecret#f", "https://a.test/v1?[secret]", WITHOUT_QUERY),
            ("https://a.test?", "https://a.test?", WITHOUT_QUERY),
            ("https://a.test#", "https://a.test#", WITHOUT_QUERY),
        ):
            yield {concern: {**content, name: text}}, f"{concern}.{name}", repr(shown), allowed
        yield (
            {concern: {**content, name: "https://reflector.test"}, "edge": {"domain": "reflector.test"}},
            f"{concern}.{name}", "'https://reflector.test'", ELSEWHERE,
        )  # fmt: skip
    for path in ("chat/completions", "v1/chat/completions", "v1/chat/completions/", "v1/models", "v1/responses"):
        text = f"https://a.test/{path}"
        yield (
            {"language_model": {**MODEL_ELSEWHERE, "url": text}}, "language_model.url", repr(text), BASE_URL,
        )  # fmt: skip
    for text, allowed in (
        ("https://s3.example.com/media", STORE_URL), ("https://s3.example.com/media/", STORE_URL),
        ("https://my_store.test", STORE_HOST),
    ):  # fmt: skip
        yield {"storage": {**STORE, "endpoint": text}}, "storage.endpoint", repr(text), allowed
    for text in ("https://media.s3.eu-west-1.amazonaws.com", "https://media.fra1.stores.test:443"):
        yield (
            {"storage": {**STORE, "endpoint": text, "bucket": "media"}}, "storage.endpoint",
            f"{text!r}, while bucket is 'media'", WITHOUT_BUCKET,
        )  # fmt: skip


def _words() -> Iterator[Row]:
    for text in (
        "192.168.5.4", "xn--media", "media-s3alias", "a-.b", "a.-b", ".abc", "abc.", "abc-", "a..b", "Media",
        "my_media", "me dia", " media", "media\n", "s3://media", "media/recordings", "médias",
    ):  # fmt: skip
        for content in (GARAGE, AWS, STORE):
            yield {"storage": {**content, "bucket": text}}, "storage.bucket", repr(text), BUCKET
    for text in (
        "sthree-media", "sthree-configurator", "amzn-s3-demo-media", "media--ol-s3", "media--x-s3", "media--table-s3",
        "media.mrap",
    ):  # fmt: skip
        for content in (AWS, STORE):
            yield {"storage": {**content, "bucket": text}}, "storage.bucket", repr(text), AWS_BUCKET
    for text in (
        "", " ", "two words", "eu-central-1\n", " eu-central-1", "eu_central_1", "eu.central", "<region>", "-r", "12",
        "eu-central-1,eu-west-1", "https://s3.test", "ré",
    ):  # fmt: skip
        for content in (AWS, STORE):
            yield {"storage": {**content, "region": text}}, "storage.region", repr(text), REGION
    for text in ("eu-central-1a", "EU-Central-1", "us-east-1b"):
        yield {"storage": {**AWS, "region": text}}, "storage.region", repr(text), AWS_REGION
    for text in (
        "", " ", "two words", "AKIAEXAMPLE\n", " AKIAEXAMPLE", "AKIAEXAMPLE\u200b", "<key id>", "<key-id>",
        "your-access-key-id", "{key}", "AKIA\x00",
    ):  # fmt: skip
        yield {"storage": {**STORE, "access_key_id": text}}, "storage.access_key_id", repr(text), WORD
    for text in ("<model>", "{model}", "your-model", "a\x00", "a\u200b", "a\n", " a", "a b"):
        for concern, content, name in (
            ("language_model", OLLAMA, "model"),
            ("language_model", MODEL_ELSEWHERE, "model"),
            ("speech", {"mode": "in-process"}, "whisper_model"),
        ):
            yield {concern: {**content, name: text}}, f"{concern}.{name}", repr(text), MODEL
    for text in (
        "device=", "device=0,", "device=0,0", "device=0 1", "device=0, 1", "device=0;1", "0", "all\n", " all", "ALL",
        '"device=0,1"', "device=٣", "count=2",
    ):  # fmt: skip
        yield {"language_model": {**OLLAMA, "gpus": text}}, "language_model.gpus", repr(text), GPUS
        yield {**CONTAINER, "speech": {"mode": "container", "gpus": text}}, "speech.gpus", repr(text), GPUS
    for text, allowed in (
        ("https://registry.test/redis:7.2.1", WITHOUT_SCHEME), ("docker://redis:7.2.1", WITHOUT_SCHEME),
        ("oci://registry.test/redis:7.2.1", WITHOUT_SCHEME), ("redis:7.2.1\n", IMAGE), (" redis:7.2.1", IMAGE),
        ("redis: 7.2.1", IMAGE), ("registry.test//redis:7.2.1", IMAGE), ("redis:٧.٢", IMAGE), ("redis:7.2.1é", IMAGE),
        ("https:redis:7.2.1", IMAGE), ("redis:7.2.1@sha256:" + "A" * 64, IMAGE), ("redis:7.2.1@md5:00", IMAGE),
        ("Library/redis:7.2.1", IMAGE), ("<registry>/redis:7.2.1", IMAGE), ("user@registry.test/redis:7.2.1", IMAGE),
    ):  # fmt: skip
        tree = {"images": {"mode": "upstream", "references": {"redis": text}}}
        yield tree, "images.references.redis", repr(text), allowed
    for text in (
        "me@bad_ä.test",
        "me@a.test ",
        "me@a.test,you@a.test",
        "mailto:me@a.test",
        "me@[192.0.2.1]",
        "me@ſ.test",
    ):
        yield {"sign_in": {"mode": "password", "admin_email": text}}, "sign_in.admin_email", repr(text), EMAIL
    yield (
        {"storage": {"mode": "s3", "region": "eu-central-1"}},
        "storage.bucket",
        "nothing",
        ("a value: storage.mode is 's3'"),
    )


def _provider() -> Iterator[Row]:
    """Rows of a provider elsewhere."""
    for text, allowed in (
        ("https://b.test/", WITHOUT_SLASH), ("https://b.test/realms/x/", WITHOUT_SLASH),
        ("https://b.test//", WITHOUT_SLASH),
        ("https://b.test/.well-known/openid-configuration/", WITHOUT_SLASH),
        ("https://b.test/.well-known/openid-configuration", WITHOUT_DISCOVERY),
        ("https://b.test/realms/x/.well-known/openid-configuration", WITHOUT_DISCOVERY),
    ):  # fmt: skip
        yield {"sign_in": {**OIDC, "issuer": text}}, "sign_in.issuer", repr(text), allowed
    for name in ("issuer", "token_url"):
        for text, allowed in (
            ("http://b.test", HTTPS_URL), ("HTTP://b.test/token", HTTPS_URL), ("b.test", URL), ("", WITHOUT_SPACES),
            (" https://b.test", WITHOUT_SPACES), ("https://b.test\n", WITHOUT_SPACES), ("https://<host>/x", FILLED_IN),
            ("https://localhost", REACHED), ("https://auth.localhost", REACHED), ("https://127.0.0.1/x", REACHED),
            ("https://authentik:9000/x", ELSEWHERE), ("https://reflector.localhost", REACHED),
        ):  # fmt: skip
            yield {"sign_in": {**OIDC, name: text}}, f"sign_in.{name}", repr(text), allowed
        yield (
            {"sign_in": {**OIDC, name: "https://reflector.test/x"}, "edge": {"domain": "reflector.test"}},
            f"sign_in.{name}", "'https://reflector.test/x'", ELSEWHERE,
        )  # fmt: skip
        for text, shown, allowed in (
            ("https://b.test?client_secret=HandedSecret", "https://b.test?[secret]", WITHOUT_QUERY),
            ("https://me:HandedSecret@b.test", "https://[secret]@b.test", WITHOUT_USER),
        ):
            yield {"sign_in": {**OIDC, name: text}}, f"sign_in.{name}", repr(shown), allowed
    chain, ec_key = certificate("one")
    private, public = rsa_private_key(), rsa_public_key()
    for text, label, found in (
        (private, "PRIVATE KEY", "a private key"),
        (private.replace("PRIVATE", "RSA PRIVATE"), "RSA PRIVATE KEY", "a rsa private key"),
        (ec_key, "PRIVATE KEY", "a private key"), (chain, "CERTIFICATE", "a certificate"),
        (private + public, "PRIVATE KEY", "a private key"), (public + private, "PUBLIC KEY", "a private key"),
        (chain + private, "CERTIFICATE", "a certificate and a private key"),
        (public.replace("PUBLIC", "RSA PUBLIC"), "RSA PUBLIC KEY", "a rsa public key"),
        (ec_public_key(), "PUBLIC KEY", "a key of another kind: tokens have to be signed with RS256"),
        (rsa_public_key(1024), "PUBLIC KEY", "one of 1024 bits, which is too short: 2048 or more"),
        (public + rsa_public_key(3072), "PUBLIC KEY", "several of them"),
        (public.replace("M", "!", 1), "PUBLIC KEY", "one that cannot be read"),
        (public[:200], "PUBLIC KEY", "a text without any"),
    ):  # fmt: skip
        shown = f"-----BEGIN {label}-----[secret]"
        yield {"sign_in": {**OIDC, "public_key": text}}, "sign_in.public_key", repr(shown), f"{PUBLIC_KEY} {found}"
    for text in ("", "garbage", "/etc/key.pem", "https://b.test/jwks", '{"keys": []}'):
        allowed = f"{PUBLIC_KEY} a text without any"
        yield {"sign_in": {**OIDC, "public_key": text}}, "sign_in.public_key", repr(text), allowed
    for name in ("client_id", "audience"):
        for text in ("", "two words", " reflector", "reflector\n", "<client id>", "your-client-id"):
            yield {"sign_in": {**OIDC, name: text}}, f"sign_in.{name}", repr(text), WORD
    for text in ("", "HandedSecret"):
        yield (
            {"sign_in": {**OIDC, "client_secret": text}}, "sign_in.client_secret", "a value in clear text",
            "an encrypted value",
        )  # fmt: skip
    for name, value in (("redirect_uri", "https://elsewhere.test/callback"), ("jwks_url", "https://b.test/jwks")):
        yield (
            {"sign_in": {**OIDC, name: value}}, f"sign_in.{name}", "unknown setting",
            "the settings of docs/configuration.md",
        )  # fmt: skip


def _authentik() -> Iterator[Row]:
    """Rows of an Authentik of the stack's own."""
    jane = {"name": "Jane", "email": "jane@example.com"}
    for name, path in (
        ("akadmin", "akadmin"), ("admin", "admin"), ("Jane", "Jane"), ("ja ne", '["ja ne"]'), ("", '[""]'),
        (" jane", '[" jane"]'), ("-jane", "-jane"), ("jane-", "jane-"), ("jäne", "jäne"), ("ja/ne", '["ja/ne"]'),
        ("x" * 101, "x" * 101), ("yes:", '["yes:"]'),
    ):  # fmt: skip
        setting = f"sign_in.users{path if path.startswith('[') else '.' + path}"
        yield {"sign_in": {**AUTHENTIK, "users": {name: jane}}}, setting, repr(name), USER_NAME
    for name, path in (
        ("authentik Admins", '["authentik Admins"]'), ("Authentik x", '["Authentik x"]'), ("", '[""]'), ("-x", ".-x"),
        ("a/b", '["a/b"]'), (" a", '[" a"]'), ("ä", ".ä"),
    ):  # fmt: skip
        tree = {"sign_in": {**AUTHENTIK, "groups": {name: {"members": ["admin"]}}}}
        yield tree, f"sign_in.groups{path}", repr(name), GROUP_NAME
    for text in ("", "no address", "Jane <jane@a.test>"):
        tree = {"sign_in": {**AUTHENTIK, "users": {"jane": {**jane, "email": text}}}}
        yield tree, "sign_in.users.jane.email", repr(text), EMAIL
    for name in ("name", "email"):
        tree = {"sign_in": {**AUTHENTIK, "users": {"jane": {key: jane[key] for key in jane if key != name}}}}
        yield tree, f"sign_in.users.jane.{name}", "nothing", "a value"
    for text in ("", " Jane", "Jane\n", "Ja\nne", "x" * 101, "\u2028x"):
        tree = {"sign_in": {**AUTHENTIK, "users": {"jane": {**jane, "name": text}}}}
        yield tree, "sign_in.users.jane.name", repr(text), TITLE
        yield {"sign_in": {**AUTHENTIK, "title": text}}, "sign_in.title", repr(text), TITLE
    tree = {"sign_in": {**AUTHENTIK, "groups": {"staff": {"members": []}}}}
    yield tree, "sign_in.groups.staff.members", "an empty list", "one or more"
    for text in (
        "authorize", "token", "userinfo", "introspect", "revoke", "device", "Reflector", "a b", "", "-x", "x-",
        "x" * 51, "a_b", "a/b",
    ):  # fmt: skip
        yield {"sign_in": {**AUTHENTIK, "application_slug": text}}, "sign_in.application_slug", repr(text), SLUG
    for content in (AUTHENTIK, OIDC):
        for minutes in (4, 0, -1, 1441):
            tree = {"sign_in": {**content, "access_token_minutes": minutes}}
            yield tree, "sign_in.access_token_minutes", str(minutes), "5 to 1440 minutes"
    for name in ("signing_key_generation", "client_secret_generation"):
        for number in (0, -1, 1001):
            yield {"sign_in": {**AUTHENTIK, name: number}}, f"sign_in.{name}", str(number), "1 to 1000 of them"
    yield {"sign_in": {**AUTHENTIK, "refresh_token_days": 0}}, "sign_in.refresh_token_days", "0", "1 day or more"
    for part in ("server", "worker"):
        tree = {"sign_in": {**AUTHENTIK, part: {"memory_mib": 63}}}
        yield tree, f"sign_in.{part}.memory_mib", "63", "64 MiB or more"
    for part, least in (("server", 768), ("worker", 640)):
        tree = {"sign_in": {**AUTHENTIK, part: {"memory_mib": least - 1}}}
        yield tree, f"sign_in.{part}.memory_mib", str(least - 1), f"{least} or more, as was measured of Authentik"
    for text in ("localhost", "auth"):
        yield {"sign_in": {**AUTHENTIK, "domain": text}}, "sign_in.domain", repr(text), DOTTED
    for text in ("https://auth.a.test", "auth.a.test:8443", "auth_a.test"):
        yield {"sign_in": {**AUTHENTIK, "domain": text}}, "sign_in.domain", repr(text), HOST_NAME
    for text in ("@a.test", "*.a.test", "a.test,b.test"):
        tree = {"sign_in": {**AUTHENTIK, "access": {"email_domain": text}, "admin_email": "me@a.test"}}
        yield tree, "sign_in.access.email_domain", repr(text), DOMAIN
    for name, place, why in (
        ("a.test", "edge.domain", {"edge": {"domain": "a.test"}}),
        ("s3.a.test", "storage.domain", {"edge": {"domain": "a.test"}, "storage": GARAGE}),
        ("x.a.test", "storage.domain", {"storage": {**GARAGE, "domain": "x.a.test"}}),
        ("y.a.test", "edge.extra_names[0]", {"edge": {"domain": "a.test", "extra_names": ["DNS:y.a.test"]}}),
    ):
        allowed = f"a host name other than {place}: Authentik has all paths to itself"
        yield {**why, "sign_in": {**AUTHENTIK, "domain": name}}, "sign_in.domain", repr(name), allowed
    extra = {"edge": {"domain": "a.test", "extra_names": ["DNS:auth.a.test"]}}
    yield (
        {**extra, "sign_in": AUTHENTIK}, "sign_in.domain", "'auth.a.test'",
        "a host name other than edge.extra_names[0]: Authentik has all paths to itself",
    )  # fmt: skip
    yield (
        {"edge": {"domain": ".".join(["x" * 62] * 4)}, "storage": {**GARAGE, "domain": "s.test"},
         "sign_in": {**AUTHENTIK, "admin_email": "me@a.test"}},
        "sign_in.domain", "nothing, and auth.<domain> has 256 characters",
        "a host name of its own, of 253 characters or fewer",
    )  # fmt: skip
    for name, value in (("redirect_uri", "https://elsewhere.test"), ("bootstrap_token", SEALED)):
        yield (
            {"sign_in": {**AUTHENTIK, name: value}}, f"sign_in.{name}", "unknown setting",
            "the settings of docs/configuration.md",
        )  # fmt: skip


WRONG: Final[list[Row]] = [*_addresses(), *_names(), *_urls(), *_words(), *_provider(), *_authentik()]
