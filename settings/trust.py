"""Authorities to be trusted besides the public ones."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field, StringConstraints

from settings.base import REMOVE, Conflict, Instant, Model
from settings.material import MaterialError, encoded, is_sealed, password, read_file
from settings.values import Brought, FilePath, Password

if TYPE_CHECKING:
    from pki.trust import Authorities, Source

AuthorityName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
_SUFFIXES: Final = (".pem", ".crt", ".cer", ".der", ".p7b", ".p7c", ".p12", ".pfx")
"""Of what is read in a folder, in either case."""
_ALLOWED: Final = "certificates of authorities that are in their time: PEM, DER, PKCS #7 or PKCS #12"


class TrustedAuthority(Model):
    """Certificates of authorities that belong together."""

    path: FilePath | None = Field(
        default=None,
        description=f"File with one or more, or folder with such files ({', '.join(_SUFFIXES)}); PEM, DER, PKCS #7 or "
        "PKCS #12",
    )
    certificates: Brought | None = Field(
        default=None, description="The same, encrypted in the stack file: PEM, or anything else in base64"
    )
    password: Password | None = Field(default=None, description="Password of the files that have one")

    def conflicts(self) -> Iterator[Conflict]:
        """Yield what is set twice, or not at all."""
        if self.path is not None and self.certificates is not None:
            yield Conflict(
                path=("certificates",),
                others=(("path",),),
                given="set beside path",
                allowed="one of certificates and path",
                remedy=REMOVE,
            )
        if self.path is None and self.certificates is None:
            yield Conflict(
                path=("path",),
                others=(("certificates",),),
                given="nothing",
                allowed="a file or a folder; or certificates, encrypted",
                remedy="Set it: pulumi config set --path {path} <file>",
            )

    @property
    def is_sealed(self) -> bool:
        """Whether what has to be known is not decrypted yet."""
        return is_sealed(self.certificates, self.password)

    def sources(self, name: str) -> "list[Source]":
        """Return where they come from, each file under its own name, and others under `name`.

        Raises: MaterialError.
        """
        from pki.trust import Source  # a tenth of a second, for those who have any

        if self.certificates is not None and self.certificates.value is not None:
            return [Source(name=name, data=encoded(self.certificates.value), password=password(self))]
        if self.path is None:
            return []
        return [Source(name=file, data=read_file(file), password=password(self)) for file in _files(self.path)]


def _files(path: str) -> list[str]:
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return [path]
    found = sorted(
        str(Path(path, one.name))
        for one in folder.iterdir()
        if one.suffix.lower() in _SUFFIXES and not one.name.startswith(".") and not one.is_dir()
    )
    if not found:
        raise MaterialError(f"{path}: a folder without a file of {', '.join(_SUFFIXES)}")
    return found


def trusted(group: Mapping[str, TrustedAuthority], now: Instant) -> "Authorities | list[Conflict] | None":
    """Return whom to trust at `now`, or what is wrong; None where there is nobody, or it is not decrypted yet.

    Their sources are the names they have in `group`.
    """
    from pki.trust import authorities

    sources: dict[str, Source] = {}
    owners: dict[str, tuple[str, str]] = {}
    problems: list[Conflict] = []
    # By name: in whatever order they are written, what is delivered stays the same.
    for name, one in sorted(group.items()):
        setting = "path" if one.path is not None else "certificates"
        try:
            found = [] if one.is_sealed else one.sources(name)
        except MaterialError as error:
            problems.append(_wrong(name, setting, str(error)))
            continue
        for source in found:
            sources[source.name] = source
            owners[source.name] = (name, setting)
    if problems:
        return problems
    if not sources:
        return None
    result = authorities(list(sources.values()), now)
    if not isinstance(result, list):
        return replace(result, sources=tuple(owners[source][0] for source in result.sources))
    return [
        _wrong(*owners[source], reason if owners[source][1] == "certificates" else f"{source}: {reason}")
        for source, reason in result
    ]


def _wrong(name: str, setting: str, given: str) -> Conflict:
    remedy = "Put the right one there, or set another: pulumi config set --path {path} <file>"
    if setting == "certificates":
        remedy = "Set the right ones: pulumi config set --secret --path {path}"
    return Conflict(path=(name, setting), given=given, allowed=_ALLOWED, remedy=remedy)


TrustedAuthorities = dict[AuthorityName, TrustedAuthority]
