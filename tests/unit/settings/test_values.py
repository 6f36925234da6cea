"""What single settings may be, and what is said of what they may not: one row a mistake."""

import re
import shlex
from pathlib import Path
from typing import Any, Final

import botocore.session  # type: ignore[import-untyped]
import pytest

from settings import ALL_SERVICES, lock_path, lock_text
from settings.base import Sealed, dotted
from testing.certificates import SERVER, certificate, docker_client
from tests.unit.settings.examples import (
    LEAVES,
    ORDINARY,
    SEALED,
    SECRETS,
    STACK,
    Leaf,
    example,
    only,
    outcome,
    parsed,
    put,
    refused,
    refused_everywhere,
)
from tests.unit.settings.wrong import (
    ADDRESS,
    AWS,
    BUCKET,
    CONTAINER,
    DOCKER_HOST,
    EDGE_DOMAIN,
    EMAIL,
    GARAGE,
    GPUS,
    HOST_NAME,
    HOSTED,
    IMAGE,
    MODEL,
    MODEL_ELSEWHERE,
    NAME,
    OLLAMA,
    PORTS,
    REACHED,
    SECRET_WORDS,
    STORE,
    URL,
    WITHOUT_QUERY,
    WITHOUT_SPACES,
    WITHOUT_USER,
    WRONG,
    Row,
)

ALL_OF_A_KIND: Final = "what stands for all addresses of a kind, or single ones"

WITHOUT_PATH: Final = "the URL of a proxy without a path, such as http://proxy.example.com:3128"
PROXIED: Final = {"http": "http://proxy.test:3128"}
EXCLUDED: Final = "a host name, .<domain>, an address, or a network such as 10.0.0.0/8"
POOL: Final = (
    "a network of private IPv4 addresses, /23 or larger, such as 10.213.0.0/20 (within 10.0.0.0/8, 172.16.0.0/12, "
    "192.168.0.0/16, 100.64.0.0/10)"
)
REGISTRY: Final = (
    "<host>[:<port>] in lower case as images begin with it, without https:// and path; docker.io for Docker Hub"
)

PULLED_FROM: Final = (
    "<host>[:<port>] of a registry of your own, in lower case as images begin with it, an IPv6 address in brackets, "
    "without https:// and path"
)
NOBODY: Final = "nothing, while hosts.main.trust is set and the stack has no root that is not public"

BAD: Final[list[Row]] = [
    *WRONG,
    *(
        ({"hosts": {"main": {"trust": {"registries": [text]}}}}, "hosts.main.trust.registries[0]", repr(text),
         PULLED_FROM)
        for text in (
            "", "main", "https://registry.test", "registry.test/a", "Registry.test", "registry.test:",
            "registry.test:0", "docker.io", "index.docker.io", "[2001:db8::5", "2001:db8::5", "[2001:db8::5]5000",
            "[2001:db8::5]:0",
            "[2001:DB8::5]:5000", "[::g]:5000", "[192.0.2.1]:5000", "../x", "a b.test",
        )
    ),
    (
        {"hosts": {"main": {"trust": {"registries": ["a.test", "b.test", "a.test"]}}}},
        "hosts.main.trust.registries[2]", "'a.test' a second time", "each once",
    ),
    (
        {"hosts": {"main": {"trust": {"system_store": True}}}, "edge": {"domain": "a.example.com"},
         "certificate": {"mode": "acme"}},
        "trusted_authorities", NOBODY, "authorities the host is to trust",
    ),
    *(
        ({"hosts": {"main": {"address": text}}}, "hosts.main.address", repr(text), DOCKER_HOST)
        for text in (
            "", "localhost", "/var/run/docker.sock", "unix://var/run/docker.sock", "http://host", "ssh://",
            "ssh://host:notaport", "ssh://[::1", "tcp://host", "tcp://:2376", "tcp://[::1",
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
        ({"edge": {"domain": text}}, "edge.domain", repr(text), EDGE_DOMAIN)
        for text in (
            "", "bad_name.example", "-x.example", "a..b", "10.0.0.300", "x" * 64, "a." * 130 + "b", "*.a.b", "ſ3.test",
        )
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
    ({"sign_in": {"mode": "saml"}}, "sign_in.mode", "'saml'", "password, authentik, oidc or public"),
    *(
        ({"sign_in": {"mode": "password", "admin_email": text}}, "sign_in.admin_email", repr(text), EMAIL)
        for text in (
            "nobody", "@a.test", "me@", "me@@a.test", "me@a@b.test", "m e@a.test", " me@a.test", "me@a.test\n",
            "me <me@a.test>", '"me"@a.test', "jürgen@a.test", "me@a..test", "me@-a.test", "me@a_b.test",
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
        for text in ("Bad_Bucket", "", "ab", "-ab", "x" * 64)
    ),
    ({"storage": {**GARAGE, "capacity_gib": 0}}, "storage.capacity_gib", "0", "1 GiB or more"),
    *(
        ({"proxy": {name: text}}, f"proxy.{name}", repr(text), allowed)
        for name in ("http", "https")
        for text, allowed in (
            ("", WITHOUT_SPACES), ("proxy:3128", URL), ("proxy.test", URL), ("socks5://proxy.test:1080", URL),
            ("http://", URL), ("http://proxy.test:3128/x", WITHOUT_PATH), ("http://proxy.test:3128?", WITHOUT_QUERY),
            ("http://proxy.test:0", URL), ("http://proxy.test:x", URL),
            ("http://localhost:3128", REACHED), ("http://127.0.0.1:3128", REACHED),
            (" http://proxy.test:3128", WITHOUT_SPACES), ("http://proxy.test:3128\n", WITHOUT_SPACES),
        )
    ),
    (
        {"proxy": {"http": "http://me:HandedSecret@proxy.test:3128"}}, "proxy.http", "'http://[secret]@proxy.test:3128'",
        WITHOUT_USER,
    ),
    *(
        ({"proxy": {**PROXIED, "exclude": ["a.test", text]}}, "proxy.exclude[1]", repr(text), EXCLUDED)
        for text in (
            "", "*", "*.a.test", "a.test:443", "https://a.test", "10.0.0.1/8", "10.0.0.0/33", "a b", "..a", ".",
        )
    ),
    *(
        ({"proxy": {name: value}}, f"proxy.{name}", "set without a proxy", "only with proxy.http or proxy.https")
        for name, value in (("exclude", ["a.test"]), ("login", {"username": "me", "password": SEALED}))
    ),
    *(
        ({"hosts": {"main": {"subnets": text}}}, "hosts.main.subnets", repr(text), POOL)
        for text in (
            "", "10.213.0.0", "10.213.0.1/20", "10.213.0.0/24", "10.0.0.0/7", "8.8.0.0/16", "172.15.0.0/16",
            "fd00::/64", "10.213.0.0/20,10.214.0.0/20", "10.213.0.0/x", "127.0.0.0/8", "192.168.0.0/15",
        )
    ),
    *(
        ({"images": {"mode": "upstream", "registries": {name: {"username": "me", "password": SEALED}}}}, path,
         repr(name), REGISTRY)
        for name, path in (
            ("", 'images.registries[""]'), ("main", "images.registries.main"),
            ("https://ghcr.io", 'images.registries["https://ghcr.io"]'),
            ("ghcr.io/a", 'images.registries["ghcr.io/a"]'),
            ("GHCR.io", 'images.registries["GHCR.io"]'), ("ghcr.io:", 'images.registries["ghcr.io:"]'),
            ("ghcr.io:0", 'images.registries["ghcr.io:0"]'), ("ghcr.io:x", 'images.registries["ghcr.io:x"]'),
            ("bad_name.test", 'images.registries["bad_name.test"]'),
        )
    ),
    (
        {"images": {"mode": "upstream", "registries": {"index.docker.io": {"username": "me", "password": SEALED}}}},
        'images.registries["index.docker.io"]', "'index.docker.io'", "docker.io for Docker Hub",
    ),
    *(
        ({"images": {"mode": "upstream", "docker_config": text}}, "images.docker_config", repr(text),
         "the path of a file, beginning with / or ~/")
        for text in ("", "config.json", "./config.json", "/root/.docker/", "~me/config.json", "/config.json\n")
    ),
    ({"health": {"startup_limit_seconds": 9}}, "health.startup_limit_seconds", "9", "10 seconds or more"),
    ({"health": {"interval_seconds": 0}}, "health.interval_seconds", "0", "1 second or more"),
    ({"health": {"start_interval_seconds": 0}}, "health.start_interval_seconds", "0", "1 second or more"),
    ({"data": {"redis": {"memory_mib": 8}}}, "data.redis.memory_mib", "8", "64 MiB or more"),
    ({"data": {"redis": {"memory_mib": "1g"}}}, "data.redis.memory_mib", "'1g'", "a whole number"),
    ({"data": {"redis": {"memory_mib": 1.5}}}, "data.redis.memory_mib", "1.5", "a whole number"),
    ({"data": {"redis": {"memory_mib": 512.0}}}, "data.redis.memory_mib", "512.0", "a whole number"),
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


def test_the_table_is_as_long_as_it_looks() -> None:
    trees = [repr(tree) for tree, *_ in BAD]
    assert len(set(trees)) == len(trees) > 600, "each is another mistake"


@pytest.mark.parametrize("value", ["HandedSecret\n", "\nHandedSecret", " HandedSecret", "Handed\r\nSecret"], ids=repr)
@pytest.mark.parametrize("leaf", [leaf for leaf in SECRETS if leaf.name == "password"], ids=str)
def test_a_password_that_was_badly_pasted_is_refused_by_name_and_not_shown(leaf: Leaf, value: str) -> None:
    (problem,) = refused(leaf.with_value(Sealed(value)))
    assert (problem.setting, problem.given) == (dotted(leaf.path), "an encrypted value")
    assert problem.allowed == "one encrypted line, without blanks around it and without a line break at its end"
    # Somebody may have chosen such a one.
    assert parsed(leaf.with_value(Sealed("Pass phrase, née Réunion")))


BROUGHT: Final = [
    leaf for leaf in SECRETS if {"certificate_file", "authority_file", "path"} & leaf.spot.group.model_fields.keys()
]


@pytest.mark.parametrize("value", ["Réunion", "no-base64!", "MIIB=x"], ids=repr)
@pytest.mark.parametrize("leaf", [leaf for leaf in BROUGHT if leaf.name != "password"], ids=str)
def test_what_is_neither_pem_nor_base64_is_refused_by_name_and_not_shown(leaf: Leaf, value: str) -> None:
    (problem,) = refused(leaf.with_value(Sealed(value)))
    assert (problem.setting, problem.given) == (dotted(leaf.path), "an encrypted value")
    assert problem.allowed == "PEM, or base64 of DER, PKCS #7 or PKCS #12, encrypted"


@pytest.mark.parametrize("value", SECRET_WORDS, ids=repr)
@pytest.mark.parametrize("leaf", [leaf for leaf in SECRETS if leaf.name != "password" and leaf not in BROUGHT], ids=str)
def test_a_secret_that_was_badly_pasted_is_refused_by_name_and_not_shown(leaf: Leaf, value: str) -> None:
    (problem,) = refused(leaf.with_value(Sealed(value)))
    assert str(problem) == (
        f"{dotted(leaf.path)}: an encrypted value; allowed: one encrypted word of ASCII characters, without spaces and "
        f"without a line break at its end. Set it: pulumi config set --secret --path {shlex.quote(dotted(leaf.path))}"
    )


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
        # Where one of two has to be there, it is missed in the same words.
        assert outcome(put(leaf.spot.tree, leaf.path, None)) == outcome(leaf.left_out)
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
    ("address", "meant"),
    [
        *(
            (address, address)
            for address in (
                "unix:///run/docker.sock", "unix:///a folder/docker.sock", "ssh://user@host", "ssh://host:2222",
                "ssh://user@host:22", "ssh://me@my_alias", "ssh://me@Alias", "ssh://me@192.0.2.9",
                "ssh://root@[2001:db8::1]:22", "ssh://root@[2001:db8::1]",
            )
        ),
        # A slash would be the path of a socket over there.
        ("ssh://root@192.0.2.9:22/", "ssh://root@192.0.2.9:22"), ("ssh://root@[::1]/", "ssh://root@[::1]"),
        ("SSH://me@host", "ssh://me@host"), ("Unix:///run/docker.sock", "unix:///run/docker.sock"),
    ],
)  # fmt: skip
def test_a_docker_host_the_client_and_the_provider_understand_is_taken(address: str, meant: str) -> None:
    assert parsed({"hosts": {"main": {"address": address}}}).host.address == meant


@pytest.mark.parametrize(
    "address", ["registry.example.com:5000", "registry.example.com", "[2001:db8::5]:5000", "[2001:db8::5]",
                "192.0.2.1:5000", "localhost:5000", "registry:5000"],
)  # fmt: skip
def test_a_registry_is_named_as_docker_looks_for_its_folder(address: str) -> None:
    trust = parsed({"hosts": {"main": {"trust": {"registries": [address]}}}}).host.trust
    assert (trust.registries, trust.is_on, trust.system_store) == ((address,), True, False)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("Reflector.Example", "reflector.example"), ("münchen.example", "xn--mnchen-3ya.example"),
        ("MÜNCHEN.example", "xn--mnchen-3ya.example"), ("mu\u0308nchen.example", "xn--mnchen-3ya.example"),
        ("faß.example", "xn--fa-hia.example"), ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example"), ("a.0xg", "a.0xg"), ("1.2.3.4x", "1.2.3.4x"),
    ],
)  # fmt: skip
def test_a_name_in_any_script_is_taken_as_dns_has_it(given: str, meant: str) -> None:
    found = parsed({"edge": {"domain": given, "extra_names": [f"DNS:x.{given}"]}, "sign_in": {"mode": "password"}})
    assert (found.edge.domain, found.storage_domain, found.dns_names[-1]) == (meant, f"s3.{meant}", f"x.{meant}")
    assert (found.url, found.admin_email) == (f"https://{meant}", f"admin@{meant}")
    assert parsed({"storage": {**GARAGE, "domain": given}}).storage_domain == meant
    models = {"language_model": {**MODEL_ELSEWHERE, "url": f"https://{given}:8000/v1"}}
    assert parsed(models).model_dump()["language_model"]["url"] == f"https://{meant}:8000/v1"


def test_an_addresss_domain_is_taken_as_the_login_page_sends_it() -> None:
    assert parsed({"sign_in": {"mode": "password", "admin_email": "Me@MÜNCHEN.test"}}).admin_email == (
        "Me@xn--mnchen-3ya.test"
    )


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        *(
            (url, url)
            for url in (
                "http://llm:8000/v1", "http://my_llm:8000/v1", "http://192.0.2.7:11434/v1", "https://[2001:db8::7]/v1",
                "https://a.openai.azure.com/openai/v1", "https://generativelanguage.googleapis.com/v1beta/openai",
                "https://yourself.test/v1", "https://fsn1.your-objectstorage.test/v1", "https://a.test/v1/@team",
                "http://docker.internal.test/v1", "http://llm.localdomain/v1", "https://localhost.example.com/v1",
            )
        ),
        ("HTTPS://A.Test/V1/", "https://a.test/V1"), ("https://a.test//", "https://a.test"),
    ],
)  # fmt: skip
def test_a_url_containers_can_call_is_taken_in_normal_form(given: str, meant: str) -> None:
    found = parsed({"language_model": {**MODEL_ELSEWHERE, "url": given}, "speech": {**HOSTED, "url": given}})
    dump = found.model_dump()
    assert (dump["language_model"]["url"], dump["speech"]["url"]) == (meant, meant)


@pytest.mark.parametrize(
    ("endpoint", "bucket"),
    [
        ("https://s3.eu-west-1.amazonaws.com", "media"), ("http://minio:9000", "minio"),
        ("https://fsn1.your-objectstorage.com", "media"), ("https://[2001:db8::7]:3900", "media"),
        # The store, and not the bucket at a store.
        ("https://media.example.com", "media"), (None, "my.bucket"), ("https://s3.test", "sthree-media"),
    ],
)  # fmt: skip
def test_a_store_and_its_bucket_are_taken(endpoint: str | None, bucket: str) -> None:
    found = parsed({"storage": {**STORE, "endpoint": endpoint, "bucket": bucket}}).model_dump()["storage"]
    assert (found["endpoint"], found["bucket"]) == (endpoint, bucket)


@pytest.mark.parametrize("region", ["eu-central-1", "us-gov-west-1", "eusc-de-east-1"])
def test_a_region_of_aws_is_taken_and_a_bucket_with_dots_too(region: str) -> None:
    """The SDK addresses it by path, so the host name in its URLs is one of the certificate's."""
    bucket = "recordings.example.com"
    parsed({"storage": {**AWS, "region": region, "bucket": bucket}})
    client: Any = botocore.session.get_session().create_client(
        "s3", region_name=region, aws_access_key_id="k", aws_secret_access_key="s"
    )
    signed = client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "a"})
    assert re.match(rf"https://s3[a-z0-9.-]*/{bucket}/a\?", signed)


@pytest.mark.parametrize("reference", ["[2001:db8::1]:5000/a:1.2.3", "Registry.Example.com:5000/redis:7.2.1"])
def test_an_image_in_any_registry_docker_knows_is_taken(reference: str) -> None:
    tree = {"images": {"mode": "upstream", "references": {"redis": reference}}}
    assert parsed(tree).sources.images["redis"].reference == reference


def test_names_multicast_dns_does_not_know_are_hinted_at() -> None:
    assert [hint.partition(" ")[0] for hint in parsed({"edge": {"domain": "reflector.local"}}).hints()] == [
        "s3.reflector.local"
    ]
    assert list(parsed({"edge": {"domain": "a.local"}, "storage": {**GARAGE, "domain": "s3-a.local"}}).hints()) == []
    assert list(parsed({"edge": {"domain": "a.local.test"}}).hints()) == []


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
    assert found.addresses == ("127.0.0.1", "::1", "2001:db8::1")


def test_an_ipv4_address_in_ipv6_is_the_ipv4_address() -> None:
    assert parsed({"edge": {"extra_names": ["IP:::ffff:192.0.2.1"]}}).addresses[-1] == "192.0.2.1"


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
    ({"language_model": {**MODEL_ELSEWHERE, "url": "https://a/b/"}}, ("language_model", "url")),
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


def test_proxies_in_front_are_networks_in_one_form() -> None:
    given = ["192.0.2.7/32", "10.0.0.0/8", "10.1.0.0/255.255.0.0", "2001:DB8::1", "2001:db8:1::/48"]
    edge = parsed({"edge": {"trusted_proxies": given, "proxy_protocol": True}}).edge
    assert edge.trusted_proxies == (
        "192.0.2.7", "10.0.0.0/8", "10.1.0.0/16", "2001:db8::1", "2001:db8:1::/48",
    )  # fmt: skip
    assert parsed({"edge": {"trusted_proxies": ["0.0.0.0/1", "::/1"]}}).edge.trusted_proxies == ("0.0.0.0/1", "::/1")


FIT: Final = (
    "a folder with ca.pem, cert.pem, key.pem in PEM form, a certificate of a client's and its key, in their time"
)


def test_each_missing_certificate_is_named(tmp_path: Path) -> None:
    docker_client(tmp_path)
    for name in ("cert", "key"):
        (tmp_path / f"{name}.pem").unlink()
    found = refused_everywhere(with_certificates("tcp://host:2376", str(tmp_path)))
    assert [(problem.given, problem.allowed) for problem in found] == [
        (f"{tmp_path}/{name}.pem: No such file or directory", FIT) for name in ("cert", "key")
    ]


@pytest.mark.parametrize(
    ("names", "file", "reason"),
    [
        # Rows a16 of the table of cases: of whom the three files are → the one that is named, and why
        (("ca", "cert", "other"), "key.pem", "the key of another certificate"),
        (("ca", "key", "cert"), "cert.pem", "no certificate in it, but: private key"),
        (("nothing", "cert", "key"), "ca.pem", "no certificate in it"),
        (("ca", "server", "server-key"), "cert.pem",
         "a certificate for servers only (its extended key usage has no clientAuth)"),
    ],
    ids=["another-pair", "swapped", "empty", "of-a-server"],
)  # fmt: skip
def test_certificates_that_do_not_fit_are_told_in_one_line(
    tmp_path: Path, names: tuple[str, str, str], file: str, reason: str
) -> None:
    texts = dict(zip(("ca", "cert", "key"), docker_client(tmp_path), strict=True)) | {"nothing": ""}
    texts |= zip(("server", "server-key"), certificate("server", usages=[SERVER]), strict=True)
    texts["other"] = certificate("other")[1]
    for target, name in zip(("ca", "cert", "key"), names, strict=True):
        (tmp_path / f"{target}.pem").write_text(texts[name])
    assert str(only(with_certificates("tcp://host:2376", str(tmp_path)))) == (
        f"hosts.main.certificates: {tmp_path}/{file}: {reason}; allowed: {FIT}. Put the right file there, or set "
        "another folder: pulumi config set --path hosts.main.certificates <folder>"
    )


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_certificates_are_read_written_anew_and_the_key_never_shows(tmp_path: Path, encoding: str) -> None:
    texts = docker_client(tmp_path)
    for name, text in zip(("ca", "cert", "key"), texts, strict=True):
        attributes = "Bag Attributes\n    friendlyName: Réunion CA\n"
        (tmp_path / f"{name}.pem").write_text(attributes + text, encoding=encoding)
    host = parsed(with_certificates("tcp://host:2376", str(tmp_path))).host
    assert host.tls == texts
    assert texts[2].splitlines()[1] not in repr(host)
    assert "PRIVATE" not in f"{host!r} {host.model_dump()}"


@pytest.mark.parametrize("leaf", [leaf for leaf in LEAVES if leaf.name != "certificates"], ids=str)
def test_every_setting_can_be_set(leaf: Leaf) -> None:
    found: Any = parsed(leaf.with_value(example(leaf.field))).model_dump()
    for step in leaf.path:
        found = found[step]
    assert found not in (None, leaf.field.default)


# --- The network around the host --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://proxy.test:3128", "http://proxy.test:3128"), ("http://proxy.test:3128/", "http://proxy.test:3128"),
        ("https://10.0.0.1", "https://10.0.0.1"), ("http://[2001:db8::1]:3128", "http://[2001:db8::1]:3128"),
    ],
)  # fmt: skip
def test_a_proxy_is_where_it_listens(text: str, expected: str) -> None:
    assert parsed({"proxy": {"http": text}}).proxy.http == expected


def test_what_is_reached_directly_is_the_stacks_own_and_what_is_excluded() -> None:
    given = [".Corp.Test", "10.0.0.0/8", "0:0::1", "Wiki.test"]
    stack = parsed({"proxy": {**PROXIED, "exclude": given}, "edge": {"extra_names": ["IP:192.0.2.1"]}})
    assert stack.proxy.exclude == (".corp.test", "10.0.0.0/8", "::1", "wiki.test")
    assert stack.reached_directly == (
        *ALL_SERVICES, "reflector.localhost", "s3.reflector.localhost", *stack.proxy.exclude,
    )  # fmt: skip


@pytest.mark.parametrize("text", ["10.213.0.0/20", "172.16.0.0/12", "192.168.2.0/23", "100.64.0.0/10", "10.0.0.0/8"])
def test_the_stacks_networks_may_have_any_private_addresses(text: str) -> None:
    assert parsed({"hosts": {"main": {"subnets": text}}}).host.subnets == text


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("10.0.0.0/8", "10.0.0.0/24", "10.0.15.0/24"), ("10.213.0.0/20", "10.213.0.0/24", "10.213.15.0/24"),
        ("10.213.0.0/21", "10.213.0.0/25", "10.213.7.128/25"), ("192.168.2.0/23", "192.168.2.0/27", "192.168.3.224/27"),
    ],
)  # fmt: skip
def test_a_pool_has_sixteen_pieces(text: str, first: str, last: str) -> None:
    pieces = parsed({"hosts": {"main": {"subnets": text}}}).host.pieces
    assert (len(pieces), str(pieces[0]), str(pieces[-1])) == (16, first, last)
    assert parsed({}).host.pieces == ()


# --- Registries -------------------------------------------------------------------------------------------------------

LOGIN: Final = {"username": "me", "password": SEALED}


def upstream(**given: Any) -> dict[str, Any]:
    """Return the settings of images pulled from a registry of one's own, and Docker Hub."""
    return {"images": {"mode": "upstream", "references": {"redis": "mirror.test:5000/redis:7.2.1"}, **given}}


def test_a_login_is_for_the_registry_it_is_named_by() -> None:
    sources = parsed(upstream(registries={"mirror.test:5000": LOGIN})).sources
    assert [(login.address, login.username, login.docker_config) for login in sources.logins] == [
        ("mirror.test:5000", "me", None)
    ]


def test_the_users_own_logins_serve_for_every_other_registry(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text("{}")
    sources = parsed(upstream(registries={"mirror.test:5000": LOGIN}, docker_config=str(file))).sources
    assert [(login.address, login.username, login.docker_config) for login in sources.logins] == [
        ("docker.io", "", str(file)), ("ghcr.io", "", str(file)), ("mirror.test:5000", "me", None),
    ]  # fmt: skip


def test_without_a_login_nobody_logs_in() -> None:
    assert parsed(upstream()).sources.logins == ()
    assert parsed({"images": {"mode": "built"}}).sources.logins == ()


def test_a_login_for_a_registry_no_image_comes_from_is_refused() -> None:
    problem = only(upstream(registries={"mirror.test:5001": LOGIN}))
    assert str(problem) == (
        'images.registries["mirror.test:5001"]: a registry no image comes from; allowed: one of docker.io, ghcr.io, '
        "mirror.test:5000. Rename it in the stack file as the images begin, or set images.references first"
    )


@pytest.mark.parametrize(("text", "reason"), [(None, "No such file or directory"), ("[]", "no JSON object"),
                                              ("{", "no JSON object")])  # fmt: skip
def test_a_file_of_logins_that_cannot_be_read_is_refused(tmp_path: Path, text: str | None, reason: str) -> None:
    file = tmp_path / "config.json"
    if text is not None:
        file.write_text(text)
    problem = only(upstream(docker_config=str(file)))
    assert (problem.setting, problem.given) == ("images.docker_config", f"{file}: {reason}")


# --- What tags meant --------------------------------------------------------------------------------------------------

REDIS: Final = "mirror.test:5000/redis:7.2.1"
DIGEST: Final = f"sha256:{'ab' * 32}"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """Where the lock of the stack is."""
    return lock_path(STACK, tmp_path / "checkout")


def test_a_tag_means_what_the_lock_says(lock: Path) -> None:
    assert parsed(upstream()).sources.images["redis"].digest is None
    lock.write_text(lock_text({REDIS: DIGEST, "another:1.2": DIGEST}))
    sources = parsed(upstream()).sources
    assert sources.images["redis"].digest == DIGEST
    assert (REDIS in sources.tagged, sources.images["postgres"].digest) == (True, None)
    assert not any(reference.startswith("postgres:") for reference in sources.tagged), "its digest is in the reference"


def test_a_lock_is_the_same_whoever_writes_it() -> None:
    text = lock_text({"b:1.2": DIGEST, "a:1.2": DIGEST})
    assert text == lock_text({"a:1.2": DIGEST, "b:1.2": DIGEST})
    assert text.endswith(f'[images]\n"a:1.2" = "{DIGEST}"\n"b:1.2" = "{DIGEST}"\n')


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("[images\n", "Expected ']'"), ('other = "x"\n', "something else than a table [images]"),
        ("images = 1\n", "something else than a table [images]"),
        ('[images]\n"a:1.2" = "sha256:1"\n"b:1.2" = 7\n', "no digest for a:1.2, b:1.2"),
        ("\x00", "Invalid statement"),
    ],
)  # fmt: skip
def test_a_broken_lock_is_no_free_pass(lock: Path, text: str, given: str) -> None:
    lock.write_text(text)
    (problem,) = refused(upstream())
    assert problem.setting == f"Pulumi.{STACK}.images.lock"
    assert problem.given.startswith(given)
