"""What an Authentik elsewhere has to be told of Reflector, as a blueprint to import there, and what to do after.

It is what the stack's own Authentik would be told (rendering/authentik.py) without anybody's key, secret or account. It
can be had before `sign_in.mode: oidc` is whole, which wants what only the import makes.
"""

import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from operations import checks
from operations.stack import Stack
from rendering import authentik as rendering
from settings import PROJECT, Settings, SettingsError, parse, usable_part
from settings.sign_in import Authentik, Oidc

MISSING: Final = "nothing"
"""How it is said that a setting is not there."""
SOMEBODYS: Final = "https://<your Authentik>"
_ISSUER: Final = re.compile(r"(?P<base>https://.+)/application/o/(?P<slug>[^/]+)")
_KEY_FILE: Final = "reflector-sign-in.pem"
_CERTIFICATE: Final = (
    'import base64,json,sys; sys.stdout.buffer.write(base64.b64decode(json.load(sys.stdin)["keys"][0]["x5c"][0]))'
)


def write(stack: Stack, output: Path | None) -> int:
    """Write the blueprint to `output`, None for standard output, and say on standard error what is next."""
    try:
        tree = checks.tree_of(stack)
        settings = _settings(tree, stack)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    base, application = _there(settings, tree)
    text = rendering.blueprint_for_import(application)
    if output is None:
        sys.stdout.write(text)
    else:
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            print(f"error: {output}: {error.strerror}; name another file: --output <file>", file=sys.stderr)
            return 1
    for line in _next(settings, base, application, output):
        print(line, file=sys.stderr)
    return 0


def _settings(tree: Mapping[str, object], stack: Stack) -> Settings:
    """Return the settings: of sign-in something may be missing, and what does not matter here may be wrong.

    Raises: SettingsError.
    """
    try:
        return parse(tree, stack.name, PROJECT)
    except SettingsError as error:
        problems = [problem for problem in error.problems if _matters(problem.setting, problem.given)]
        if problems:
            raise SettingsError(problems) from None
    return usable_part(tree, stack.name, PROJECT)


def _matters(setting: str, given: str) -> bool:
    concern, *_ = re.split(r"[.\[]", setting)
    if concern == "sign_in":
        return not given.startswith(MISSING)
    return concern == "edge" or concern not in Settings.model_fields


def _there(settings: Settings, tree: Mapping[str, object]) -> tuple[str, rendering.Application]:
    """Return the base URL of the Authentik elsewhere, as far as it is known, and what it is to be told."""
    own = settings.sign_in if isinstance(settings.sign_in, Authentik) else Authentik()
    given = tree.get("sign_in")
    sign_in = given if isinstance(given, Mapping) else {}
    if isinstance(settings.sign_in, Oidc):  # whole, and in the clear
        sign_in = dict(settings.sign_in)
    issuer, minutes = sign_in.get("issuer"), sign_in.get("access_token_minutes")
    found = _ISSUER.fullmatch(issuer) if isinstance(issuer, str) else None
    return found["base"] if found else SOMEBODYS, rendering.Application(
        slug=found["slug"] if found else own.application_slug,
        title=own.title,
        url=settings.url,
        access_token_minutes=minutes if isinstance(minutes, int) else own.access_token_minutes,
        refresh_token_days=own.refresh_token_days,
        # Nobody's account is in it.
        administrator=rendering.Person(user_name=rendering.REFLECTOR_ADMINISTRATOR, name="", email=""),
    )


def _next(settings: Settings, base: str, application: rendering.Application, output: Path | None) -> Iterator[str]:
    """Yield what to do with it."""
    if isinstance(settings.sign_in, Authentik):
        yield "This stack has an Authentik of its own, which `make up` tells all this. This is for another one.\n"
    elsewhere = isinstance(settings.sign_in, Oidc)
    issuer = rendering.issuer(base, application.slug)
    stack = shlex.quote(settings.stack)
    # Told in the clear nowhere, if somebody encrypted it or what it is made of.
    email = "<address>" if settings.encrypted or not settings.admin_email else settings.admin_email
    commands = (
        ". ./env.sh",
        f"pulumi stack select {stack}",
        f"curl --fail --silent --show-error {_quoted(f'{issuer}jwks/')} |",
        f"    python3 -c {shlex.quote(_CERTIFICATE)} |",
        f"    openssl x509 -inform der -pubkey -noout > {_KEY_FILE}",
        # Only one mode's settings may be there.
        *(() if elsewhere else ("pulumi config rm --path sign_in",)),
        "pulumi config set --path sign_in.mode oidc",
        f"pulumi config set --path sign_in.issuer {_quoted(issuer.rstrip('/'))}",
        f"pulumi config set --path sign_in.token_url {_quoted(rendering.token_url(base))}",
        f"pulumi config set --path sign_in.client_id {rendering.CLIENT_ID}",
        f"pulumi config set --path sign_in.access_token_minutes {application.access_token_minutes}",
        "pulumi config set --secret --path sign_in.client_secret",
        f"pulumi config set --path sign_in.public_key < {_KEY_FILE}",
        f"make up STACK={stack}",
    )
    yield from (
        f"1. In Authentik: Customization → Blueprints → Import: {output or 'the text above, as a file'}",
        "2. In Authentik: Applications → Providers → Reflector → Edit shows the client secret it has made.",
        f"3. In Authentik: the attribute `upn: local:{email}` of the user who was the administrator here with a",
        "   password keeps that person's rooms and transcripts; without it the same person begins anew.",
        "4. Here, with the client secret when it is asked for:",
        *(f"     {command}" for command in commands),
    )


def _quoted(url: str) -> str:
    """Return a URL as a shell takes it, also with what is still to be filled in."""
    return f"'{url}'" if url.startswith(SOMEBODYS) else shlex.quote(url)
