"""The blueprint for an Authentik elsewhere: of any stack, before it is told of that one, and with nobody's secret."""

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from operations import __main__ as commands
from operations import blueprint, checks
from operations.stack import Stack
from settings import PROJECT, parse
from settings.base import Sealed
from testing.certificates import rsa_public_key
from tests.unit.operations.stand_ins import with_file
from toolchain import ROOT

DOMAIN: Final[Mapping[str, object]] = {"edge": {"domain": "a.test", "https_port": 8443, "public_port": 443}}
OIDC: Final[Mapping[str, object]] = {
    "mode": "oidc",
    "issuer": "https://login.test:9443/application/o/minutes",
    "token_url": "https://login.test:9443/application/o/token/",
    "client_id": "reflector",
    "client_secret": {"secure": "v1:x"},
    "public_key": rsa_public_key(),
    "access_token_minutes": 20,
}


def written(stack: Stack, capsys: pytest.CaptureFixture[str], **settings: object) -> tuple[str, str]:
    """Return what is written for a stack with these settings, and what is said."""
    with_file(stack, {**DOMAIN, **settings})
    assert blueprint.write(stack, None) == 0
    return capsys.readouterr()


@pytest.mark.parametrize(
    "sign_in",
    [
        {},
        {"sign_in": {"mode": "public", "everybody_reads_everything": True}},
        # As far as somebody is who begins.
        {"sign_in": {"mode": "oidc"}},
    ],
)
def test_any_stack_has_one_before_there_is_a_provider(
    stack: Stack, capsys: pytest.CaptureFixture[str], sign_in: Mapping[str, object]
) -> None:
    text, said = written(stack, capsys, **sign_in)
    assert text.startswith("version: 1\n")
    assert 'url: "https://a.test/api/auth/callback/authentik"' in text
    assert "slug: reflector\n" in text
    assert "minutes=15" in text
    assert "sign_in.issuer 'https://<your Authentik>/application/o/reflector'\n" in said
    assert "sign_in.token_url 'https://<your Authentik>/application/o/token/'\n" in said


@pytest.mark.parametrize("missing", [(), ("client_secret", "public_key")])
def test_what_is_known_of_the_provider_is_taken_from_the_settings(
    stack: Stack, capsys: pytest.CaptureFixture[str], missing: tuple[str, ...]
) -> None:
    text, said = written(stack, capsys, sign_in={name: OIDC[name] for name in OIDC if name not in missing})
    assert "slug: minutes\n" in text
    assert "minutes=20" in text
    assert "curl --fail --silent --show-error https://login.test:9443/application/o/minutes/jwks/ |\n" in said
    for line in (
        "sign_in.issuer https://login.test:9443/application/o/minutes\n",
        "sign_in.token_url https://login.test:9443/application/o/token/\n",
        "sign_in.access_token_minutes 20\n",
    ):
        assert line in said


def test_an_issuer_that_is_none_of_authentiks_says_no_slug(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    text, said = written(stack, capsys, sign_in={**OIDC, "issuer": "https://login.test/realms/company"})
    assert "slug: reflector\n" in text
    assert "<your Authentik>" in said


def test_of_a_stack_with_an_authentik_of_its_own_names_and_lives_are_taken(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {"mode": "authentik", "application_slug": "minutes", "title": "Minutes", "refresh_token_days": 7}
    text, said = written(stack, capsys, sign_in=own)
    for line in ("slug: minutes\n", "name: Minutes\n", 'refresh_token_validity: "days=7"\n'):
        assert line in text
    assert said.startswith("This stack has an Authentik of its own")
    assert "pulumi config rm --path sign_in\n" in said, "two modes at once are refused"


def test_no_secret_file_and_no_account_is_in_it(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    user = {"name": "Somebody", "email": "somebody@a.test"}
    text, said = written(stack, capsys, sign_in={"mode": "authentik", "users": {"somebody": user}})
    for word in ("!File", "/run/", "secret:", "password", "somebody", "authentik_core.user", "key_data"):
        assert word not in text.lower().replace("!file", "!File"), word
    assert "somebody@a.test" not in said


def test_the_same_person_stays_by_an_attribute(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    _, said = written(stack, capsys, sign_in={"mode": "password", "admin_email": "me@a.test"})
    assert "`upn: local:me@a.test`" in said


def test_what_somebody_encrypted_is_not_said(
    stack: Stack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = {"edge": {"domain": Sealed("hidden.a.test")}}
    monkeypatch.setattr(checks, "tree_of", lambda _: tree)
    assert blueprint.write(stack, None) == 0
    text, said = capsys.readouterr()
    assert "https://hidden.a.test/api/auth/callback/authentik" in text, "it has to be used"
    assert "hidden" not in said


def test_it_goes_into_a_file_and_the_rest_is_said(
    stack: Stack, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with_file(stack, DOMAIN)
    file = tmp_path / "reflector.yaml"
    assert blueprint.write(stack, file) == 0
    out, said = capsys.readouterr()
    assert out == ""
    assert file.read_text(encoding="utf-8").startswith("version: 1\n")
    assert f"Import: {file}\n" in said


def test_a_file_that_cannot_be_written_is_one_line(
    stack: Stack, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with_file(stack, DOMAIN)
    assert blueprint.write(stack, tmp_path) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}: Is a directory; name another file: --output <file>\n"


@pytest.mark.parametrize(
    ("settings", "settings_named"),
    [
        # What it is made from.
        ({"edge": {"domain": "a_b.test"}}, ["edge.domain"]),
        ({"edge": {}, "sign_in": {**OIDC, "issuer": "http://login.test/application/o/x"}}, ["sign_in.issuer"]),
        ({"sign_in": {"mode": "oidc", "access_token_minutes": 4}}, ["sign_in.access_token_minutes"]),
        # Of an earlier release, where nothing says what the domain is.
        ({"domain": "a.test"}, ["domain"]),
    ],
)
def test_what_it_is_made_from_has_to_be_right(
    stack: Stack, capsys: pytest.CaptureFixture[str], settings: Mapping[str, object], settings_named: list[str]
) -> None:
    with_file(stack, settings)
    assert blueprint.write(stack, None) == 1
    out, said = capsys.readouterr()
    assert out == ""
    assert [line.split(":")[0].removeprefix("  - ") for line in said.splitlines()[1:]] == settings_named


def test_what_has_nothing_to_do_with_it_may_be_wrong(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    text, _ = written(stack, capsys, health={"interval_seconds": 0}, language_model={"mode": "external"})
    assert "https://a.test" in text


def test_a_stack_without_a_file_is_told_as_everywhere(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    assert blueprint.write(stack, None) == 1
    assert "there is no Pulumi.test.yaml" in capsys.readouterr().err


def test_the_commands_it_names_make_settings_that_are_right(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    """Each `pulumi config set` is carried out on a tree, with what the import made filled in."""
    _, said = written(stack, capsys)
    tree: dict[str, Any] = {}
    for line in said.replace(blueprint.SOMEBODYS, "https://login.test").splitlines():
        words = shlex.split(line, comments=True) if line.strip().startswith("pulumi config set") else []
        if words:
            path = next(word for word in words if word.startswith("sign_in."))
            value: Any = words[-1] if words[-1] != path else "HandedSecret"
            value = rsa_public_key() if "<" in words else value
            tree[path.removeprefix("sign_in.")] = int(value) if value.isdigit() else value
    tree["client_secret"] = Sealed(tree["client_secret"])
    settings = parse({"sign_in": tree}, "test", PROJECT)
    assert settings.sign_in.mode == "oidc"


def test_the_key_comes_out_of_what_authentik_answers(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    """The program in the middle of the pipe, as it stands there."""
    _, said = written(stack, capsys)
    (line,) = (line for line in said.splitlines() if "python3 -c" in line)
    program = shlex.split(line)[2]
    answer = json.dumps({"keys": [{"x5c": ["AQID"]}]})
    done = subprocess.run([sys.executable, "-c", program], input=answer.encode(), capture_output=True, check=True)
    assert done.stdout == b"\x01\x02\x03"


def test_make_has_it(
    stack: Stack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_file(stack, DOMAIN)
    monkeypatch.setattr(commands, "Layout", lambda: stack.layout)
    file = tmp_path / "reflector.yaml"
    monkeypatch.setattr(sys, "argv", ["operations", "blueprint", "--stack", "test", "--output", str(file)])
    assert commands.main() == 0
    assert file.exists()
    assert "\nblueprint: ##" in (ROOT / "Makefile").read_text(encoding="utf-8")
