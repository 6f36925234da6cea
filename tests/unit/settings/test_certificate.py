"""What is brought to the edge and to be trusted: files and encrypted texts, each mistake in one line."""

import base64
import importlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

import settings
from settings import PROJECT, Problem, Settings, SettingsError
from settings.base import Sealed
from settings.certificate import LETS_ENCRYPT, LETS_ENCRYPT_STAGING, Acme, is_public, not_public, public_roots
from settings.pki import Pki, fitting_hours
from testing.certificates import Issued, certificate, issue

NOW: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
NAMES: Final = ("a.test", "s3.a.test")
ROOT: Final = issue("root of a company", now=NOW, ca=True, to_days=3000)
AUTHORITY: Final = issue("authority of a company", ROOT, now=NOW, ca=True, to_days=1000)
LEAF: Final = issue("a.test", AUTHORITY, now=NOW, sans=NAMES)
STRANGER: Final = issue("root of a stranger", now=NOW, ca=True, to_days=3000)
SECRET: Final = "a-word-nobody-sees"


def parsed(tree: Mapping[str, Any]) -> Settings:
    return settings.parse({"edge": {"domain": "a.test"}, **tree}, "test", PROJECT, NOW)


def problems(tree: Mapping[str, Any]) -> list[Problem]:
    with pytest.raises(SettingsError) as refusal:
        parsed(tree)
    assert len(str(refusal.value).splitlines()) == 1 + len(refusal.value.problems), "one line each"
    assert SECRET not in str(refusal.value)
    assert "PRIVATE" not in str(refusal.value)
    return list(refusal.value.problems)


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, bytes], str]:
    """Writes a file and returns its path."""

    def write(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)

    return write


Write = Callable[[str, bytes], str]


def own(write: Write, chain: bytes = LEAF.pem + AUTHORITY.pem, key: bytes = LEAF.key_pem) -> dict[str, Any]:
    """Return a stack with a certificate of its own, whose root it trusts."""
    return {
        "certificate": {
            "mode": "own",
            "certificate_file": write("edge.pem", chain),
            "key_file": write("edge.key", key),
        },
        "trusted_authorities": {"company": {"path": write("root.pem", ROOT.pem)}},
    }


# --- A certificate of one's own ---------------------------------------------------------------------------------------


def test_a_certificate_in_files_is_read_and_written_anew(file: Write) -> None:
    found = parsed(own(file, b"\xef\xbb\xbf" + (AUTHORITY.pem + ROOT.pem + LEAF.pem).replace(b"\n", b"\r\n")))
    assert found.own is not None
    assert found.own.chain == (LEAF.pem + AUTHORITY.pem).decode()
    assert found.own.root == ROOT.pem.decode()
    assert found.own.key == LEAF.key_pem.decode()
    assert found.own.ends == "2026-08-30T12:00:00Z"


def test_the_same_encrypted_in_the_stack_file(file: Write) -> None:
    bundle = pkcs12.serialize_key_and_certificates(
        b"x",
        LEAF.key,  # type: ignore[arg-type]  # no key of a test is for key agreement
        LEAF.certificate,
        [AUTHORITY.certificate],
        BestAvailableEncryption(SECRET.encode()),
    )
    tree = {
        "certificate": {
            "mode": "own",
            "certificate": Sealed(base64.encodebytes(bundle).decode()),
            "password": Sealed(SECRET),
        },
        "trusted_authorities": {"company": {"certificates": Sealed(ROOT.pem.decode())}},
    }
    found = parsed(tree)
    assert found.own is not None
    assert found.own.chain == (LEAF.pem + AUTHORITY.pem).decode()


def test_what_is_not_decrypted_yet_is_not_judged() -> None:
    tree = {
        "certificate": {"mode": "own", "certificate": Sealed(), "key": Sealed()},
        "trusted_authorities": {"company": {"certificates": Sealed()}},
    }
    found = parsed(tree)
    assert (found.own, found.trusted, list(found.hints())) == (None, None, [])


def test_localhost_is_no_name_where_somebody_else_signs(file: Write) -> None:
    assert parsed(own(file)).served == NAMES
    assert "localhost" in parsed({}).served


OTHER: Final = issue("other", now=NOW)
WRONG: Final[list[tuple[bytes, bytes, str, str]]] = [
    # what the certificate's file has, what the key's has, which setting is named, what is said
    (LEAF.pem + AUTHORITY.pem, OTHER.key_pem, "key_file", "the key of another certificate"),
    (AUTHORITY.pem, AUTHORITY.key_pem, "certificate_file", "a CA certificate (CN=authority of a company)"),
    (LEAF.pem + AUTHORITY.pem + LEAF.key_pem, LEAF.key_pem, "certificate_file", "a private key in it"),
    (LEAF.key_pem, LEAF.pem, "certificate_file", "no certificate in it, but: private key"),
    (b"", LEAF.key_pem, "certificate_file", "no certificate and no key in it"),
    (
        issue("a.test", AUTHORITY, now=NOW, sans=["a.test"]).pem + AUTHORITY.pem,
        b"",
        "certificate_file",
        "not for s3.a.test, but: a.test",
    ),
    (
        issue("a.test", AUTHORITY, now=NOW, sans=NAMES, from_days=-90, to_days=-1).pem + AUTHORITY.pem,
        b"",
        "certificate_file",
        "expired on 2026-05-31",
    ),
    (
        issue("a.test", AUTHORITY, now=NOW, sans=NAMES, from_days=1).pem + AUTHORITY.pem,
        b"",
        "certificate_file",
        "not valid before 2026-06-02 12:00 UTC, and the clock says 2026-06-01 12:00 UTC",
    ),
    (LEAF.pem + ROOT.pem, LEAF.key_pem, "chain_file", "the certificate of its issuer CN=authority of a company"),
]


@pytest.mark.parametrize(("chain", "key", "setting", "said"), WRONG, ids=[row[3][:30] for row in WRONG])
def test_what_cannot_be_served_is_refused_by_setting_file_and_reason(
    file: Write, chain: bytes, key: bytes, setting: str, said: str
) -> None:
    tree = own(file, chain, key or b"nothing")
    if not key:
        del tree["certificate"]["key_file"]
    found = problems(tree)
    meant = [problem for problem in found if said in problem.given]
    assert [problem.setting for problem in meant] == [f"certificate.{setting}"]
    if setting != "chain_file":
        assert meant[0].given.startswith(str(tree["certificate"].get(setting)))


def test_one_mistake_is_one_line(file: Write) -> None:
    (problem,) = problems(own(file, LEAF.pem + AUTHORITY.pem, OTHER.key_pem))
    assert str(problem) == (
        f"certificate.key_file: {problem.given}; allowed: a certificate for a server with its key, in its time, for "
        "every name that is served. Put the right one there, or set another: pulumi config set --path "
        "certificate.key_file <file>"
    )


def test_a_file_that_is_not_there_is_named(file: Write) -> None:
    tree = own(file)
    tree["certificate"]["certificate_file"] = "/nowhere/edge.pem"
    (problem,) = problems(tree)
    assert (problem.setting, problem.given) == (
        "certificate.certificate_file",
        "/nowhere/edge.pem: No such file or directory",
    )


def test_two_certificates_at_once_are_refused(file: Write) -> None:
    tree = own(file)
    tree["certificate"]["certificate"] = Sealed(LEAF.pem.decode())
    (problem,) = problems(tree)
    assert (problem.setting, problem.given) == ("certificate.certificate", "set beside certificate_file")


def test_containers_have_to_trust_who_signed_for_what_they_call(file: Write) -> None:
    tree = own(file)
    tree["trusted_authorities"] = {"company": {"path": file("stranger.pem", STRANGER.pem)}}
    (problem,) = problems(tree)
    assert problem.setting == "trusted_authorities"
    assert "CN=root of a company" in problem.given
    assert "s3.a.test" in problem.allowed
    # Nothing in the stack calls the edge where the store is elsewhere.
    tree["storage"] = {
        "mode": "external", "region": "r", "access_key_id": "k", "secret_access_key": Sealed("w"), "bucket": "media",
    }  # fmt: skip
    assert parsed(tree).own is not None


@pytest.mark.parametrize("kind", ["own", "signed-by"])
def test_what_is_brought_is_read_once_in_a_run_and_anew_at_another_moment(
    file: Write, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    read: list[str] = []
    for path, name in (("pki.server", "server_certificate"), ("pki.signer", "signer"), ("pki.trust", "authorities")):
        function = getattr(importlib.import_module(path), name)

        def counted(*given: Any, _name: str = name, _function: Callable[..., Any] = function, **more: Any) -> Any:
            read.append(_name)
            return _function(*given, **more)

        monkeypatch.setattr(f"{path}.{name}", counted)
    tree = {**own(file), **(signed_by(file) if kind == "signed-by" else {})}
    once = ["authorities", "server_certificate" if kind == "own" else "signer"]
    found = parsed(tree)
    # As the program asks for it, after all checks.
    assert (found.own is None, found.signer is None) == (kind != "own", kind == "own")
    assert found.trusted is not None
    list(found.hints())
    assert sorted(read) == once
    later = NOW + timedelta(days=4000)
    assert {one.path[0] for one in found.conflicts_at(later)} == {"trusted_authorities", "certificate"}
    assert sorted(read) == sorted(once * 2), "what is right today may have ended by then"
    # Other settings are others' business, whatever was in those files before.
    assert parsed(tree).trusted is not None
    assert sorted(read) == sorted(once * 3)


# --- An authority that is brought along -------------------------------------------------------------------------------


def signed_by(write: Write, authority: Issued = ROOT) -> dict[str, Any]:
    return {
        "certificate": {
            "mode": "signed-by",
            "authority_file": write("ca.pem", authority.pem),
            "key_file": write("ca.key", authority.key_pem),
        }
    }


def test_an_authority_that_is_brought_along_signs(file: Write) -> None:
    found = parsed(signed_by(file))
    assert found.signer is not None
    assert found.signer.certificate == ROOT.pem.decode()
    assert found.leaf_hours == (2160, 720)


def test_what_it_signs_ends_before_it_does(file: Write) -> None:
    """Case d03."""
    old = issue("root of a company", now=NOW, ca=True, to_days=20)
    found = parsed(signed_by(file, old))
    hours, renewal = found.leaf_hours
    assert hours == 270
    assert renewal == 90
    assert any("ends on 2026-06-21" in hint for hint in found.hints())


@pytest.mark.parametrize(("left", "hours"), [(3000, 2160), (2160, 2160), (2159, 1080), (24, 24), (1, 24)])
def test_its_life_is_halved_until_it_fits(left: int, hours: int) -> None:
    assert fitting_hours(Pki(), NOW + timedelta(hours=left), NOW)[0] == hours


def test_a_leaf_is_no_authority(file: Write) -> None:
    found = problems(signed_by(file, LEAF))
    assert [problem.setting for problem in found] == ["certificate.authority_file"]
    assert "no CA certificate: CN=a.test" in found[0].given


# --- What the edge orders ---------------------------------------------------------------------------------------------

ACME: Final = {"certificate": {"mode": "acme"}, "edge": {"domain": "reflector.example.com"}}


def test_without_a_directory_it_is_lets_encrypt() -> None:
    assert (Acme().url, Acme(staging=True).url) == (LETS_ENCRYPT, LETS_ENCRYPT_STAGING)
    assert parsed(ACME).served == ("reflector.example.com", "s3.reflector.example.com")


@pytest.mark.parametrize(
    ("edge", "setting", "said"),
    [
        ({"domain": "reflector.local"}, "edge.domain", "reflector.local, s3.reflector.local"),
        ({"domain": "a.example.com", "extra_names": ["IP:192.0.2.1"]}, "edge.extra_names[0]", "'IP:192.0.2.1'"),
        ({"domain": "a.example.com", "https_port": 8443, "http_port": 8080}, "edge.http_port", "8080, and 8443"),
    ],
)
def test_what_lets_encrypt_cannot_sign_for_is_refused(edge: dict[str, Any], setting: str, said: str) -> None:
    (problem,) = problems({"certificate": {"mode": "acme"}, "edge": edge})
    assert problem.setting == setting
    assert problem.given.startswith(said)


def test_a_directory_of_ones_own_signs_for_any_name() -> None:
    tree = {
        "certificate": {"mode": "acme", "directory": "https://ca.internal/acme/directory"},
        "edge": {"domain": "reflector.local", "https_port": 8443, "http_port": 8080, "extra_names": ["IP:192.0.2.1"]},
    }
    assert parsed(tree).served == ("reflector.local", "s3.reflector.local", "192.0.2.1")


@pytest.mark.parametrize("name", ["localhost", "a.local", "a.internal", "web", "a.home.arpa", "a.lan"])
def test_names_nobody_can_own_are_known(name: str) -> None:
    assert not_public([name, "a.example.com"]) == [name]


def test_half_an_account_is_refused() -> None:
    (problem,) = problems({**ACME, "certificate": {"mode": "acme", "account_key_id": "me"}})
    assert (problem.setting, problem.given) == ("certificate.account_key", "nothing, while account_key_id is set")


# --- Trust ------------------------------------------------------------------------------------------------------------


def trusting(path: str) -> dict[str, Any]:
    return {"trusted_authorities": {"company": {"path": path}}}


def test_a_folder_is_all_the_files_in_it(tmp_path: Path) -> None:
    """Case b14: whatever their names are like."""
    for name, content in {
        "corp.pem": ROOT.pem, "corp ca.crt": STRANGER.der, "corp.CRT": AUTHORITY.pem, "README": b"none", ".x.pem": b"",
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
    found = parsed(trusting(str(tmp_path)))
    assert set(found.trusted_certificates) == {one.pem.decode() for one in (ROOT, STRANGER, AUTHORITY)}


def test_each_is_delivered_once_and_in_one_order(file: Write) -> None:
    first, second = {"path": file("a.pem", ROOT.pem + STRANGER.pem)}, {"path": file("b.der", ROOT.der)}
    found = parsed({"trusted_authorities": {"b": first, "a": second}})
    assert found.trusted_certificates == (ROOT.pem.decode(), STRANGER.pem.decode())
    assert parsed({"trusted_authorities": {"a": second, "b": first}}).trusted_certificates == found.trusted_certificates


def test_one_that_has_expired_is_left_out_and_said(file: Write) -> None:
    old = issue("old", now=NOW, ca=True, from_days=-100, to_days=-1)
    found = parsed(trusting(file("both.pem", old.pem + ROOT.pem)))
    assert found.trusted_certificates == (ROOT.pem.decode(),)
    assert any("CN=old left out, expired on 2026-05-31" in hint for hint in found.hints())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (LEAF.pem, "no CA certificate"),
        (ROOT.pem + ROOT.key_pem, "a private key in it"),
        (b"", "no certificate and no key in it"),
        (issue("old", now=NOW, ca=True, from_days=-9, to_days=-1).pem, "nothing in it that is still valid"),
    ],
)
def test_what_is_no_authority_is_refused_by_setting_and_file(file: Write, content: bytes, said: str) -> None:
    path = file("ca.pem", content)
    (problem,) = problems(trusting(path))
    assert problem.setting == "trusted_authorities.company.path"
    assert problem.given.startswith(f"{path}: ")
    assert said in problem.given


def test_a_folder_without_any_is_refused(tmp_path: Path) -> None:
    (problem,) = problems(trusting(str(tmp_path)))
    assert "a folder without a file of .pem" in problem.given


def test_nobody_is_trusted_where_nobody_is_named() -> None:
    assert parsed({}).trusted_certificates == ()


def test_public_roots_are_known() -> None:
    some = public_roots().split("-----END CERTIFICATE-----", 1)[0] + "-----END CERTIFICATE-----\n"
    assert is_public(some[some.index("-----BEGIN") :])
    assert not is_public(certificate("nobody's")[0])


# --- One of the registry ----------------------------------------------------------------------------------------------


def named(entry: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a stack whose edge shows a certificate of the registry."""
    pki = {"certificates": {"web": entry}, "authorities": {"clients": {"purpose": "client"}}}
    return {"certificate": {"mode": "named", "name": "web"}, "edge": {"domain": "a.test"}, "pki": pki, **more}


def test_one_that_is_issued_has_to_be_for_everything_that_is_served() -> None:
    served = ["DNS:a.test", "DNS:s3.a.test", "IP:192.0.2.7"]
    around = {"edge": {"domain": "a.test", "extra_names": ["IP:192.0.2.7"]}}
    stack = parsed(named({"mode": "issued", "names": served}, **around))
    assert stack.named is stack.pki.certificates["web"]
    assert [hint for hint in stack.hints() if "pki.certificates" in hint] == [], "it is in use"
    (problem,) = problems(named({"mode": "issued", "names": served[:1]}, **around))
    assert problem.setting == "pki.certificates.web.names"
    assert problem.given == "without DNS:s3.a.test, IP:192.0.2.7"
    assert "pulumi config set --path pki.certificates.web.names[1] DNS:s3.a.test" in str(problem)


def test_one_that_was_brought_has_to_be_for_everything_that_is_served(tmp_path: Path) -> None:
    def entry(*names: str) -> dict[str, Any]:
        leaf = issue("web", now=NOW, sans=names)
        files = {"certificate_file": leaf.pem, "key_file": leaf.key_pem}
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        return {"mode": "imported", **{name: str(tmp_path / name) for name in files}}

    (problem,) = problems(named(entry("a.test")))
    assert problem.setting == "certificate.name"
    assert "'web': " in problem.given
    assert "s3.a.test" in problem.given
    assert "a.test, s3.a.test" in problem.allowed


@pytest.mark.parametrize(
    ("entry", "given"),
    [
        ({"mode": "issued", "kind": "client", "authority": "clients"}, "'web', whose kind is client"),
        ({"mode": "issued", "kind": "peer", "authority": "clients", "names": ["DNS:a.test", "DNS:s3.a.test"]},
         "'web', whose kind is peer"),
        ({"mode": "external", "endpoint": "a.test:443", "names": ["DNS:a.test"]}, "'web', which is external"),
    ],
)  # fmt: skip
def test_one_for_others_than_servers_or_without_a_key_is_refused(entry: dict[str, Any], given: str) -> None:
    (problem,) = problems(named(entry))
    assert problem.setting == "certificate.name"
    assert given in problem.given


# --- The host itself --------------------------------------------------------------------------------------------------

ELSEWHERE: Final = {
    "mode": "external", "endpoint": "https://objects.example.com", "region": "eu-central-1", "access_key_id": "x",
    "secret_access_key": Sealed(SECRET),
}  # fmt: skip


def test_a_host_that_is_to_trust_somebody_has_somebody_to_trust(file: Write) -> None:
    trust = {"hosts": {"main": {"trust": {"system_store": True}}}, "storage": ELSEWHERE}
    lacking = {"certificate": own(file)["certificate"], **trust}
    (problem,) = problems(lacking)
    assert problem.setting == "trusted_authorities"
    assert problem.given == "nothing, while hosts.main.trust is set and the stack has no root that is not public"
    # Its root came along with it.
    parsed({"certificate": own(file, LEAF.pem + AUTHORITY.pem + ROOT.pem)["certificate"], **trust})
    parsed({**own(file), **trust})
    parsed(trust)


def test_whom_a_host_trusts_is_known_by_the_names_of_the_settings(file: Write, tmp_path: Path) -> None:
    """Case b14."""
    folder = tmp_path / "authorities"
    folder.mkdir()
    handed = (("corp.pem", AUTHORITY), ("corp ca.crt", ROOT), ("corp.CRT", STRANGER))
    for name, one in handed:
        (folder / name).write_bytes(one.pem)
    again = file("again.pem", STRANGER.pem)
    found = parsed({"trusted_authorities": {"corp": {"path": str(folder)}, "later": {"path": again}}})
    assert sorted(found.trusted_by_name) == sorted(("corp", one.pem.decode()) for _, one in handed)
    assert parsed({}).trusted_by_name == ()
