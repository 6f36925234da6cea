"""A root in a file away from every stack, and the issuing authorities of stacks it signs."""

import argparse
import getpass
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter, ValidationError

from operations import checks, inventory, rollover
from operations.pki_export import new_password, password_in, write_new
from operations.stack import Stack
from operations.state import StateError
from settings import PROJECT, Settings, parse
from settings.authorities import (
    ACTIVE,
    LIVE,
    STACK,
    TRUSTED,
    Authority,
    Generation,
    GenerationName,
    ImportedGeneration,
    number_of,
)
from settings.material import materials
from settings.values import SHORTEST_VALIDITY_HOURS, AuthorityName

if TYPE_CHECKING:
    from pki.issue import SigningKey
    from pki.pem import Certificate

_ROOT_YEARS: Final = 20
_ISSUING_YEARS: Final = 5


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the commands and their options."""
    commands = parser.add_subparsers(dest="root_command", required=True, metavar="command")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        one.add_argument("file", type=Path, metavar="FILE", help="the root with its key, PKCS #12 with a password")
        if name != "new":
            one.add_argument("authority", metavar="AUTHORITY", help="of pki.authorities")
            one.add_argument(
                "--generation", metavar="gN", help="which of its generations (default: a new one, or what signs)"
            )
        one.add_argument(
            "--years",
            type=int,
            default=_ROOT_YEARS if name == "new" else _ISSUING_YEARS,
            help="its life (default: %(default)s)",
        )
        if name != "renew":
            one.add_argument("--name", required=name == "new", help="its common name, by which people recognise it")
            one.add_argument(
                "--key-type", default="P384", metavar="TYPE", help="P256, P384 or RSA-3072 (default: %(default)s)"
            )
            for option, kind in (("--permitted-name", "DOMAIN"), ("--permitted-address", "NETWORK")):
                one.add_argument(
                    option, action="append", default=[], metavar=kind, help="what it may sign for (default: anything)"
                )
        text = "its first line is the password (default: "
        text += "a new one, shown once)" if name == "new" else "you are asked)"
        one.add_argument("--password-file", type=Path, metavar="FILE", help=text)
        return one

    command("new", "make a root, and write it with its key into a new file that only you can read")
    signing = command("sign", "make an issuing authority under it, and set it in the stack file, encrypted")
    signing.add_argument(
        "--purpose",
        choices=("server", "client", "docker-hosts"),
        help="what it signs for (default: as in the settings)",
    )
    command("renew", "sign the certificate of an issuing authority anew, for the key it has")


def is_about_no_stack(arguments: argparse.Namespace) -> bool:
    """Tell whether it is a command that needs no stack, nor any settings that hold."""
    return (arguments.pki_command, getattr(arguments, "root_command", None)) == ("root", "new")


def run(stack: Stack, settings: Settings, arguments: argparse.Namespace) -> int:
    """Run one command on a stack, and return its exit status.

    Raises: StateError, CalledProcessError, OSError, SettingsError.
    """
    from pki.issue import IssueError

    try:
        return _sign(stack, settings, arguments) if arguments.root_command == "sign" else _renew(stack, arguments)
    except IssueError as error:
        raise StateError(str(error)) from None


# --- The root ---------------------------------------------------------------------------------------------------------


def new(arguments: argparse.Namespace) -> int:
    """Make a root in a file, and return the exit status.

    Raises: StateError, OSError.
    """
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

    from pki import facts, issue, offline

    like = _like(arguments)
    path: Path = arguments.file
    if path.exists():
        raise StateError(f"{path} is there already; nothing was written")
    password, is_new = new_password(arguments.password_file)
    key = _new_key(like.key_type)
    try:
        made = offline.root(arguments.name, key, now=_now(), years=like.years, permitted=like.permitted(loopback=False))
    except issue.IssueError as error:
        raise StateError(f"--name: {error}") from None
    content = pkcs12.serialize_key_and_certificates(
        arguments.name.encode(),
        key,
        made,
        None,
        BestAvailableEncryption(password.encode()),
    )
    write_new(path, content)
    print(
        f"written: {path}, {facts.shown(made.subject)} with its private key, encrypted; it ends on "
        f"{made.not_valid_after_utc:%Y-%m-%d}\nSHA-256 {facts.fingerprint(made)}\n"
        "Nothing of it is in any stack. Keep file and password apart, and both away from this machine; they are needed "
        f"again to sign: pki root sign {path} AUTHORITY"
    )
    if is_new:
        print(f"Its password, which is shown this once: {password}", file=sys.stderr)
    return 0


def _opened(arguments: argparse.Namespace) -> "tuple[Certificate, SigningKey]":
    """Return the root of a file, and its key.

    Raises: StateError, OSError.
    """
    from pki import container, issue, pem

    content = arguments.file.read_bytes()
    if arguments.password_file is not None:
        password = password_in(arguments.password_file)
    elif sys.stdin.isatty():
        password = getpass.getpass(f"Password of {arguments.file}: ")
    else:
        raise StateError("there is no terminal to ask for a password on; give one: --password-file FILE")
    try:
        found = container.read(content, password)
    except pem.PemError as error:
        raise StateError(f"{arguments.file}: {error}") from None
    for key in found.keys:
        for one in found.certificates:
            if isinstance(key, issue.SigningKey) and pem.belongs(key, one):
                return one, key
    raise StateError(
        f"{arguments.file}: no certificate with its private key in it; allowed: what pki root new has made"
    )


# --- Issuing authorities ----------------------------------------------------------------------------------------------


def _sign(stack: Stack, settings: Settings, arguments: argparse.Namespace) -> int:
    from pki import facts, offline, pem

    own = _checked("AUTHORITY", AuthorityName, arguments.authority)
    known = settings.pki.authorities.get(own)
    purpose = _purpose(own, known, arguments.purpose)
    like = _like(arguments)
    told = known is not None and "generations" in known.model_fields_set
    there = {*_deployed(stack).get(own, ()), *(known.generations if known is not None and told else ())}
    generation = arguments.generation or f"g{max(map(number_of, there), default=0) + 1}"
    _checked("--generation", GenerationName, generation)
    if generation in there:
        raise StateError(
            f"--generation: {generation} of {own} is there already; allowed: another one, or pki root renew"
        )
    root, root_key = _opened(arguments)
    key = _new_key(like.key_type)
    made = offline.issuing(
        arguments.name or _name(stack.name, own, generation),
        key,
        root,
        root_key,
        now=_now(),
        years=like.years,
        permitted=like.permitted(loopback=own == STACK),
        uses=offline.SERVERS_ONLY if purpose == "server" else (),
    )
    chain = pem.certificates_text([made, root])
    _see_that_it_signs(chain, pem.private_key_text(key))
    stack.ensure()  # with what its secrets are encrypted by
    place = f"pki.authorities.{own}"
    if known is None or "purpose" not in known.model_fields_set:
        stack.ask("config", "set", "--path", f"{place}.purpose", purpose)
    if there and not told:
        # What is there without being named is there no more once something is.
        for name, one in (known or Authority()).generations.items():
            stack.ask("config", "set", "--path", f"{place}.generations.{name}.mode", one.mode)
            stack.ask("config", "set", "--path", f"{place}.generations.{name}.state", one.state)
    place = f"{place}.generations.{generation}"
    state = TRUSTED if there else ACTIVE
    stack.ask("config", "set", "--path", f"{place}.mode", "imported")
    stack.ask("config", "set", "--path", f"{place}.state", state)
    stack.ask("config", "set", "--secret", "--path", f"{place}.certificate", stdin=chain)
    stack.ask("config", "set", "--secret", "--path", f"{place}.key", stdin=pem.private_key_text(key))
    print(
        f"{place}: {facts.shown(made.subject)}, under {facts.shown(root.subject)}, ends on "
        f"{made.not_valid_after_utc:%Y-%m-%d}; {state}. Its key is in the stack file alone, encrypted.\n"
        f"Nothing is deployed yet: make up STACK={stack.name}"
    )
    if state == TRUSTED:
        print(
            f"It signs once it is active, a further step: docs/pki-rollover.md. Before it: {', '.join(sorted(there))}"
        )
    return 0


def _renew(stack: Stack, arguments: argparse.Namespace) -> int:
    from pki import container, facts, offline, pem

    # The certificate that is renewed is encrypted, and may have ended: nothing asks for the time here.
    settings = parse(checks.opened_tree_of(stack), stack.name, PROJECT)
    own = arguments.authority
    known = settings.pki.every_authority.get(own)
    if known is None:
        raise StateError(f"AUTHORITY: {own}; allowed: one of {', '.join(settings.pki.every_authority)}")
    generation = arguments.generation or known.active
    one = known.generations.get(generation)
    if not isinstance(one, ImportedGeneration) or one.state not in LIVE:
        allowed = [name for name, each in known.generations.items() if isinstance(each, ImportedGeneration)]
        raise StateError(
            f"{generation} of {own} is no issuing authority that was brought along and is trusted; allowed: "
            f"{', '.join(allowed) or 'none there is'}. Make one: pki root sign"
        )
    if one.certificate is None or one.certificate.value is None:
        raise StateError(
            f"pki.authorities.{own}.generations.{generation}: its certificate is in a file, {one.certificate_file}; "
            "allowed: one in the stack file, as pki root sign sets it"
        )
    found, _ = materials(one, ("certificate",))
    there = container.certificates(found["certificate"] or b"").certificates
    root, root_key = _opened(arguments)
    old = next((each for each in there if each != root and facts.signed_by(each, root)), None)
    if old is None:
        raise StateError(
            f"{arguments.file}: {facts.shown(root.subject)} has not signed {facts.shown(there[0].subject)}; allowed: "
            f"{facts.shown(there[0].issuer)}. Under another one it is another generation: pki root sign"
        )
    made = offline.renewed(old, root, root_key, now=_now(), years=_like(arguments).years)
    place = f"pki.authorities.{own}.generations.{generation}.certificate"
    stack.ask("config", "set", "--secret", "--path", place, stdin=pem.certificates_text([made, root]))
    print(
        f"{place}: {facts.shown(made.subject)} ends on {made.not_valid_after_utc:%Y-%m-%d}, before on "
        f"{old.not_valid_after_utc:%Y-%m-%d}; with the key it had.\n"
        f"Nothing is deployed yet: make up STACK={stack.name} "
        "issues anew what it has signed. No client has to be told anything: the root is the same."
    )
    return 0


def _see_that_it_signs(chain: str, key: str) -> None:
    """Raise StateError where the settings would refuse what was made."""
    from pki.signer import signer

    found = signer(chain.encode(), key.encode(), leaf_hours=SHORTEST_VALIDITY_HOURS, served=(), now=datetime.now(UTC))
    if isinstance(found, list):
        raise StateError("; ".join(f"{what}: {why}" for what, why in found))


def _purpose(own: str, known: Authority | None, wanted: str | None) -> str:
    has = known.purpose if known is not None else Authority().purpose if own == STACK else None
    if has is not None and wanted not in (None, has):
        raise StateError(f"--purpose: {wanted}; allowed: {has}, which pki.authorities.{own} has")
    if has is None and wanted is None:
        raise StateError(f"--purpose: not given; allowed: server, client or docker-hosts, as there is no {own} yet")
    return str(has or wanted)


def _name(stack: str, own: str, generation: str) -> str:
    from pki.offline import COMMON_NAME_LENGTH

    end = f" {'' if own == STACK else own + ' '}issuing {number_of(generation)}"
    return f"Reflector {stack}"[: COMMON_NAME_LENGTH - len(end)] + end


def _deployed(stack: Stack) -> Mapping[str, Mapping[str, Any]]:
    """Return which generations the state knows of, by authority."""
    return next((found for _, found in rollover.records(inventory.resources_of(stack))), {})


# --- What is given ----------------------------------------------------------------------------------------------------


def _like(arguments: argparse.Namespace) -> Generation:
    """Return what is asked for, by the rules settings keep for it.

    Raises: StateError.
    """
    given = {
        "years": arguments.years,
        "permitted_names": tuple(getattr(arguments, "permitted_name", ())),
        "permitted_addresses": tuple(getattr(arguments, "permitted_address", ())),
        "key_type": getattr(arguments, "key_type", "P384"),
    }
    try:
        like = Generation.model_validate({"state": ACTIVE, **given})
    except ValidationError as error:
        options = {"permitted_names": "permitted-name", "permitted_addresses": "permitted-address"}
        raise _refused(error, lambda setting: "--" + options.get(setting, setting.replace("_", "-"))) from None
    if like.key_type == "Ed25519":
        raise StateError("--key-type: Ed25519; allowed: P256, P384 or RSA-3072: browsers take no Ed25519")
    return like


def _checked(option: str, kind: Any, value: str) -> str:
    try:
        return str(TypeAdapter(kind).validate_python(value))
    except ValidationError as error:
        raise _refused(error, lambda _: option) from None


def _refused(error: ValidationError, named: Any) -> StateError:
    lines: Sequence[str] = [
        f"{named(str(each['loc'][0]) if each['loc'] else '')}: {each['input']}; allowed: "
        f"{(each.get('ctx') or {}).get('error') or each['msg']}"
        for each in error.errors()
    ]
    return StateError("; ".join(lines))


def _new_key(kind: str) -> "SigningKey":
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if kind == "RSA-3072":
        return rsa.generate_private_key(public_exponent=65537, key_size=3072)
    return ec.generate_private_key(ec.SECP256R1() if kind == "P256" else ec.SECP384R1())


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
