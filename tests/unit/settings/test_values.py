"""What single settings may be, and what is said of what they may not: one row a mistake."""

import re
from pathlib import Path
from typing import Any, Final

import pytest

from settings import ALL_SERVICES
from settings.base import dotted
from tests.unit.settings.examples import LEAVES, ORDINARY, SEALED, Leaf, example, only, parsed, refused_everywhere

HOST_NAME: Final = "a host name of letters, digits and hyphens, such as reflector.example.com"
DOCKER_HOST: Final = "unix:///<path>, ssh://<user>@<host>[:<port>] or tcp://<host>:<port>"
ADDRESS: Final = "an IPv4 address, or an IPv6 address without a zone"
NAME: Final = "DNS:<host name> or IP:<address>"
BUCKET: Final = "3 to 63 lower-case letters, digits, dots and hyphens"
EMAIL: Final = "an e-mail address as browsers take it, such as admin@reflector.example.com"
MODEL: Final = "a model name: one word that does not start with a hyphen"
URL: Final = "a URL starting with http:// or https://"
IMAGE: Final = "an image reference with a digest (@sha256:…) or an exact version tag, never latest"
GPUS: Final = "all, or device=<index or UUID>[,…]"
WORD: Final = "one word without spaces"
TAKEN: Final = f"a host name other than {', '.join(ALL_SERVICES)}: inside the stack those have a meaning of their own"
STORE_TAKEN: Final = TAKEN.replace("than ", "than localhost, ", 1)
ALL_OF_A_KIND: Final = "what stands for all addresses of a kind, or single ones"

OLLAMA: Final = {"mode": "ollama"}
MODEL_ELSEWHERE: Final = {"mode": "external", "url": "https://a/v1", "model": "m"}
HOSTED: Final = {"mode": "hosted", "url": "https://a"}
CONTAINER: Final = {
    "speech": {"mode": "container"},
    "images": {"mode": "upstream", "references": {"transcription": "speech:1.2.3"}},
}
STORE: Final = {"mode": "external", "region": "r", "access_key_id": "k", "secret_access_key": SEALED}
GARAGE: Final = {"mode": "garage"}
PORTS: Final = ("https_port", "http_port", "public_port")

Row = tuple[dict[str, Any], str, str, str]

BAD: Final[list[Row]] = [
    # the settings, path of the problem, what was given, what is allowed
    *(
        ({"hosts": {"main": {"address": text}}}, "hosts.main.address", repr(text), DOCKER_HOST)
        for text in (
            "", "localhost", "/var/run/docker.sock", "unix://var/run/docker.sock", "http://host", "ssh://",
            "ssh://user:word@host", "ssh://host:notaport", "ssh://[::1", "tcp://host", "tcp://:2376", "tcp://[::1",
        )
    ),
    ({"hosts": {"main": {"certificates": " "}}}, "hosts.main.certificates", "' '", "the path of a folder"),
    ({"hosts": {"main": {"minimum_free_disk_gib": 0}}}, "hosts.main.minimum_free_disk_gib", "0", "1 GiB or more"),
    ({"images": {"mode": "mirrored"}}, "images.mode", "'mirrored'", "upstream or built"),
    *(
        (
            {"images": {"mode": "upstream", "references": {"postgres": text}}},
            "images.references.postgres", repr(text), IMAGE,
        )
        for text in ("postgres", "postgres:latest", "postgres:17", "postgres:alpine", "UPPER/a:1.2", "a@sha256:1")
    ),
    *(
        ({"edge": {"domain": text}}, "edge.domain", repr(text), HOST_NAME)
        for text in (
            "", "bad_name.example", "-x.example", "a..b", "10.0.0.1", "x" * 64, "a." * 130 + "b", "*.a.b", "ſ3.test",
        )
    ),
    *(
        ({"edge": {"domain": text}}, "edge.domain", repr(text.lower()), TAKEN)
        for text in (*ALL_SERVICES, "Server")
    ),
    *(
        ({"storage": {**GARAGE, "domain": text}}, "storage.domain", repr(text.lower()), STORE_TAKEN)
        for text in ("localhost", "LocalHost", *ALL_SERVICES)
    ),
    ({"storage": {**GARAGE, "domain": "bad_name"}}, "storage.domain", "'bad_name'", HOST_NAME),
    (
        {"storage": {**GARAGE, "domain": "reflector.localhost"}}, "storage.domain", "'reflector.localhost'",
        "a host name other than edge.domain: a signed URL fixes its whole path",
    ),
    *(
        ({"edge": {"extra_names": names}}, path, given, allowed)
        for names, path, given, allowed in (
            (["DNS:bad_name"], "edge.extra_names[0]", "'DNS:bad_name'", f"DNS:<value> with {HOST_NAME}"),
            (["DNS:a.b", "IP:300.1.1.1"], "edge.extra_names[1]", "'IP:300.1.1.1'", f"IP:<value> with {ADDRESS}"),
            (["a.example.com"], "edge.extra_names[0]", "'a.example.com'", NAME),
            (["URI:https://a"], "edge.extra_names[0]", "'URI:https://a'", NAME),
            (["IP:fe80::1%eth0"], "edge.extra_names[0]", "'IP:fe80::1%eth0'", f"IP:<value> with {ADDRESS}"),
            (["DNS:a.b", 7], "edge.extra_names[1]", "7", "a text"),
            (["DNS:a.b", None], "edge.extra_names[1]", "nothing", "a text"),
            ([["DNS:a.b"]], "edge.extra_names[0]", "a list", "a text"),
            ([{"DNS": "a.b"}], "edge.extra_names[0]", "a mapping", "a text"),
        )
    ),
    *(
        ({"edge": {"bind_addresses": addresses}}, path, given, allowed)
        for addresses, path, given, allowed in (
            (["fe80::1%eth0"], "edge.bind_addresses[0]", "'fe80::1%eth0'", ADDRESS),
            (["localhost"], "edge.bind_addresses[0]", "'localhost'", ADDRESS),
            (["0.0.0.0", "127.0.0.1"], "edge.bind_addresses[1]", "'127.0.0.1', besides 0.0.0.0", ALL_OF_A_KIND),
            (["192.0.2.1", "::1", "0.0.0.0"], "edge.bind_addresses[0]", "'192.0.2.1', besides 0.0.0.0", ALL_OF_A_KIND),
            (["0:0:0:0:0:0:0:0", "0.0.0.0", "0::1"], "edge.bind_addresses[2]", "'::1', besides ::", ALL_OF_A_KIND),
            (["::1", "0::1", "127.0.0.1", "0.0.0.0"], "edge.bind_addresses[2]", "'127.0.0.1', besides 0.0.0.0",
             ALL_OF_A_KIND),
            (["0.0.0.0", "nowhere"], "edge.bind_addresses[1]", "'nowhere'", ADDRESS),
            ([], "edge.bind_addresses", "an empty list", "one or more"),
        )
    ),
    *(
        ({"edge": {name: value}}, f"edge.{name}", str(value), "a port from 1 to 65535")
        for name in PORTS
        for value in (0, -1, 65536, 10**30)
    ),
    ({"edge": {"https_port": 8443, "http_port": 8443}}, "edge.http_port", "8443, as https_port", "two different ports"),
    ({"edge": {"public_port": 80}}, "edge.http_port", "80, as public_port", "two different ports"),
    *(
        ({"edge": {name: 2080}}, f"edge.{name}", "2080", "another port: Caddy listens on it for itself")
        for name in PORTS
    ),
    *(
        ({"pki": {"certificate_validity_hours": hours}}, "pki.certificate_validity_hours", str(hours),
         "24 to 19800 hours")
        for hours in (0, 23, 19801)
    ),
    ({"pki": {"renewal_hours": 0}}, "pki.renewal_hours", "0", "1 hour or more"),
    *(
        ({"pki": {"certificate_validity_hours": 24, "renewal_hours": hours}}, "pki.renewal_hours",
         f"{hours}, while certificate_validity_hours is 24", "less than certificate_validity_hours")
        for hours in (24, 25)
    ),
    *(
        ({"application": {"worker": {"processes": count}}}, "application.worker.processes", str(count),
         "1 to 64 processes")
        for count in (0, -1, 65)
    ),
    *(
        ({"sign_in": {"mode": "public", "everybody_reads_everything": True, "anonymous_retention_days": days}},
         "sign_in.anonymous_retention_days", str(days), "1 day or more")
        for days in (0, -7)
    ),
    ({"sign_in": {"mode": "public", "everybody_reads_everything": "yes, all of it"}},
     "sign_in.everybody_reads_everything", "'yes, all of it'", "true or false"),
    ({"sign_in": {"mode": "oidc"}}, "sign_in.mode", "'oidc'", "password or public"),
    *(
        ({"sign_in": {"mode": "password", "admin_email": text}}, "sign_in.admin_email", repr(text), EMAIL)
        for text in (
            "nobody", "@a.test", "me@", "me@@a.test", "me@a@b.test", "m e@a.test", " me@a.test", "me@a.test\n",
            "me <me@a.test>", '"me"@a.test', "jürgen@a.test", "me@ä.test", "me@a..test", "me@-a.test", "me@a_b.test",
            f"me@{'x' * 64}.test", "",
        )
    ),
    ({"speech": {"mode": "cloud"}}, "speech.mode", "'cloud'", "container, in-process or hosted"),
    ({"language_model": {"mode": "openai"}}, "language_model.mode", "'openai'", "ollama or external"),
    ({"storage": {"mode": "minio"}}, "storage.mode", "'minio'", "garage, s3 or external"),
    *(
        ({concern: {**content, name: text}}, f"{concern}.{name}", repr(text), MODEL)
        for concern, content, name in (
            ("language_model", OLLAMA, "model"),
            ("language_model", MODEL_ELSEWHERE, "model"),
            ("speech", {"mode": "in-process"}, "whisper_model"),
        )
        for text in ("", " ", "-x", "--insecure", "qwen2.5 14b", "small\n")
    ),
    ({"language_model": {**OLLAMA, "context_tokens": 512}}, "language_model.context_tokens", "512",
     "1024 tokens or more"),
    ({"language_model": {**OLLAMA, "gpus": "2"}}, "language_model.gpus", "'2'", GPUS),
    ({**CONTAINER, "speech": {"mode": "container", "gpus": "many"}}, "speech.gpus", "'many'", GPUS),
    *(
        ({"storage": {**GARAGE, "bucket": text}}, "storage.bucket", repr(text), BUCKET)
        for text in ("Bad_Bucket", "a..b", "", "ab", "-ab", "x" * 64)
    ),
    ({"storage": {**GARAGE, "capacity_gib": 0}}, "storage.capacity_gib", "0", "1 GiB or more"),
    *(
        ({"storage": {**STORE, name: text}}, f"storage.{name}", repr(text), WORD)
        for name in ("region", "access_key_id")
        for text in ("", " ", "two words", "word\n")
    ),
    ({"health": {"startup_limit_seconds": 9}}, "health.startup_limit_seconds", "9", "10 seconds or more"),
    ({"health": {"interval_seconds": 0}}, "health.interval_seconds", "0", "1 second or more"),
    ({"health": {"start_interval_seconds": 0}}, "health.start_interval_seconds", "0", "1 second or more"),
    ({"data": {"redis": {"memory_mib": 8}}}, "data.redis.memory_mib", "8", "64 MiB or more"),
    ({"data": {"redis": {"memory_mib": "1g"}}}, "data.redis.memory_mib", "'1g'", "a whole number"),
    ({"data": {"redis": {"memory_mib": 1.5}}}, "data.redis.memory_mib", "1.5", "a whole number"),
    ({"data": {"redis": {"memory_mib": 512.0}}}, "data.redis.memory_mib", "512.0", "a whole number"),
    *(
        ({concern: {**content, name: text}}, f"{concern}.{name}", repr(text), URL)
        for concern, content, name in (
            ("speech", HOSTED, "url"), ("language_model", MODEL_ELSEWHERE, "url"), ("storage", STORE, "endpoint"),
        )
        for text in ("ftp://a", "example.com", "https://", "https://a:notaport", "https://[", "https://a:0", "")
    ),
    ({"hosts": {}}, "hosts", "an empty mapping", "one or more"),
    ({"hosts": {"other": {}}}, "hosts.other", "a host, and none is called main", "one host, called main"),
    ({"hosts": {"main": {}, "other": {}}}, "hosts.other", "another host", "one host, called main"),
    *(
        ({"hosts": {"main": {}, name: {}}}, path, repr(name),
         "a name of lower-case letters, digits and hyphens that begins with a letter")
        for name, path in (("Other", "hosts.Other"), ("a b", 'hosts["a b"]'), ("1", "hosts.1"), ("", 'hosts[""]'),
                           ("x" * 32, f"hosts.{'x' * 32}"))
    ),
]  # fmt: skip


def row_name(row: Row) -> str:
    return f"{row[1]}-{row[2][:24]}"


@pytest.mark.parametrize(("tree", "path", "given", "allowed"), BAD, ids=map(row_name, BAD))
def test_a_bad_value_is_named_with_what_is_allowed_and_what_to_do(
    tree: dict[str, Any], path: str, given: str, allowed: str
) -> None:
    problem = only(tree)
    assert (problem.setting, problem.given, problem.allowed) == (path, given, allowed)
    if problem.remedy != "Rename it in the stack file":
        assert re.search(r"([Ss]et|Remove) it: pulumi config (set|rm) ", problem.remedy)
        assert path.partition("[")[0] in problem.remedy


# --- Types ------------------------------------------------------------------------------------------------------------

KINDS: Final = {int: "a whole number", str: "a text", bool: "true or false", tuple: "a list"}
OF_ANOTHER_KIND: Final[dict[str, tuple[object, str, tuple[type, ...]]]] = {
    # name → a value, how it is shown, and what takes it
    "text": ("many words", "'many words'", (str,)),
    "digits": ("8443", "'8443'", (str,)),
    "number": (7, "7", (int,)),
    "fraction": (1.5, "1.5", ()),
    "true": (True, "true", (bool,)),
    "false": (False, "false", (bool,)),
    "list": (["a", "b"], "a list", (tuple,)),
    "empty-list": ([], "a list", (tuple,)),
    "object": ({"a": 1}, "a mapping", ()),
    "empty-object": ({}, "a mapping", ()),
    "encrypted": (SEALED, "an encrypted value", (int, str, bool)),
    "json-list": ('["a"]', """'["a"]'""", (str,)),
    "json-object": ('{"a": 1}', """'{"a": 1}'""", (str,)),
}


MISMATCHES: Final = [
    pytest.param(leaf, kind, id=f"{leaf}-{kind}")
    for leaf in ORDINARY
    for kind, (_, _, takes) in OF_ANOTHER_KIND.items()
    if leaf.kind not in takes
]


@pytest.mark.parametrize(("leaf", "kind"), MISMATCHES)
def test_what_is_of_another_kind_is_refused(leaf: Leaf, kind: str) -> None:
    value, given, _ = OF_ANOTHER_KIND[kind]
    assert leaf.kind in KINDS
    problem = only(leaf.with_value(value))
    assert (problem.setting, problem.given, problem.allowed) == (dotted(leaf.path), given, KINDS[leaf.kind])
    assert "pulumi config " in problem.remedy
    assert dotted(leaf.path) in problem.remedy


@pytest.mark.parametrize("leaf", LEAVES, ids=str)
def test_nothing_is_what_is_not_set_and_no_value(leaf: Leaf) -> None:
    """`gpus: ~` unsets what may be unset; elsewhere it is a mistake, not the default."""
    if leaf.field.default is None:
        assert parsed(leaf.with_value(None)) == parsed(leaf.spot.tree)
        return
    problem = only(leaf.with_value(None))
    # A secret is never looked at closer.
    assert (problem.setting, problem.given in ("nothing", "a value in clear text")) == (dotted(leaf.path), True)


def test_a_number_that_is_meant_as_a_text_can_be_set_as_one() -> None:
    problem = only({"storage": {**GARAGE, "bucket": 2026}})
    assert problem.remedy == (
        "Write it in quotes, or set it: pulumi config set --path storage.bucket --type string <value>"
    )


# --- What is right ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["unix:///run/docker.sock", "ssh://user@host", "ssh://host:2222", "ssh://user@host:22"]
)
def test_a_docker_host_the_client_and_the_provider_understand_is_taken(address: str) -> None:
    assert parsed({"hosts": {"main": {"address": address}}}).host.address == address


@pytest.mark.parametrize("name", ["qwen2.5:14b", "hf.co/bartowski/Llama-3.2-3B-GGUF:Q8_0", "gpt-4o", "/models/a.gguf"])
def test_a_model_is_called_what_its_makers_call_it(name: str) -> None:
    tree = {"language_model": {**OLLAMA, "model": name}, "speech": {"mode": "in-process", "whisper_model": name}}
    found = parsed(tree).model_dump()
    assert (found["language_model"]["model"], found["speech"]["whisper_model"]) == (name, name)


@pytest.mark.parametrize("text", ["admin@localhost", "Ada.L+reflector@Mail.Example.com", "o'neil@a.test", "a@10.0.0.1"])
def test_an_address_the_login_page_takes_is_left_as_it_is(text: str) -> None:
    assert parsed({"sign_in": {"mode": "password", "admin_email": text}}).admin_email == text


def test_extra_names_enter_the_edge_in_normal_form_and_once() -> None:
    found = parsed({"edge": {"extra_names": ["DNS:LOCALHOST", "DNS:Other.Example", "IP:0:0::1", "IP:2001:DB8::1"]}})
    assert found.dns_names[-1] == "other.example"
    assert found.dns_names.count("localhost") == 1
    assert found.edge.addresses == ("127.0.0.1", "::1", "2001:db8::1")


def test_an_extra_name_is_no_name_inside_the_stack_and_may_be_a_services() -> None:
    assert "web" in parsed({"edge": {"extra_names": ["DNS:web"]}}).dns_names


def test_addresses_to_publish_on_are_taken_in_normal_form() -> None:
    addresses = ["::1", "0:0:0:0:0:0:0:1", "2001:DB8::1", "127.0.0.1"]
    # Each keeps its place: the checks on the host name the one that is wrong by it.
    assert parsed({"edge": {"bind_addresses": addresses}}).edge.bind_addresses == (
        "::1", "::1", "2001:db8::1", "127.0.0.1",
    )  # fmt: skip


@pytest.mark.parametrize("addresses", [["0.0.0.0", "::"], ["0.0.0.0", "::1"], ["127.0.0.1", "::"]])
def test_every_address_of_one_kind_goes_with_any_of_the_other(addresses: list[str]) -> None:
    assert parsed({"edge": {"bind_addresses": addresses}}).edge.bind_addresses == tuple(addresses)


def test_the_application_may_be_called_localhost() -> None:
    """Reflector never calls itself by its public name, but fetches from the object store by that one's."""
    found = parsed({"edge": {"domain": "localhost"}})
    assert (found.edge.domain, found.storage_domain) == ("localhost", "s3.localhost")


def test_a_url_shows_its_port_only_where_it_must() -> None:
    assert parsed({}).edge.url("a.test") == "https://a.test"
    assert parsed({"edge": {"https_port": 8443}}).edge.url("a.test") == "https://a.test:8443"
    # Where a router or tunnel leads from another port to it, people see that one.
    assert parsed({"edge": {"https_port": 8443, "public_port": 443}}).edge.url("a.test") == "https://a.test"


@pytest.mark.parametrize(("tree", "path"), [
    ({"speech": {**HOSTED, "url": "https://a/b/"}}, ("speech", "url")),
    ({"storage": {**STORE, "endpoint": "https://a/b/"}}, ("storage", "endpoint")),
])  # fmt: skip
def test_urls_lose_their_trailing_slash(tree: dict[str, Any], path: tuple[str, str]) -> None:
    concern, name = path
    assert parsed(tree).model_dump()[concern][name] == "https://a/b"


# --- Certificates of the Docker host ----------------------------------------------------------------------------------


def with_certificates(address: str, folder: str | None) -> dict[str, Any]:
    host = {"address": address} | ({} if folder is None else {"certificates": folder})
    return {"hosts": {"main": host}}


def test_tcp_without_certificates_is_refused() -> None:
    assert str(only(with_certificates("tcp://host:2376", None))) == (
        "hosts.main.certificates: nothing; allowed: a folder with ca.pem, cert.pem, key.pem: address is tcp://. "
        "Set it: pulumi config set --path hosts.main.certificates <folder>"
    )


def test_certificates_without_tcp_are_refused() -> None:
    assert str(only({"hosts": {"main": {"certificates": "/certs"}}})) == (
        "hosts.main.certificates: '/certs' while address is 'unix:///var/run/docker.sock': two modes at once; "
        "allowed: only with a tcp:// address. Remove it: pulumi config rm --path hosts.main.certificates"
    )


def test_each_missing_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("CA")
    found = refused_everywhere(with_certificates("tcp://host:2376", str(tmp_path)))
    assert [problem.given.partition(":")[0] for problem in found] == [
        str(tmp_path / "cert.pem"),
        str(tmp_path / "key.pem"),
    ]


def test_certificates_are_read_and_the_key_never_shows(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / f"{name}.pem").write_text(f"Handed {name}")
    host = parsed(with_certificates("tcp://host:2376", str(tmp_path))).host
    assert host.tls == ("Handed ca", "Handed cert", "Handed key")
    assert "Handed key" not in repr(host)


@pytest.mark.parametrize("leaf", [leaf for leaf in LEAVES if leaf.name != "certificates"], ids=str)
def test_every_setting_can_be_set(leaf: Leaf) -> None:
    found: Any = parsed(leaf.with_value(example(leaf.field))).model_dump()
    for step in leaf.path:
        found = found[step]
    assert found not in (None, leaf.field.default)
