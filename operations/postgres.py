"""Whether PostgreSQL's volume can be given to the image the settings name, found out before anything is replaced.

Data of one major version are nothing to another, and an image of another family sorts text otherwise, so that indexes
are wrong without a word. The container itself refuses such a volume too (rendering/postgres.sh), for a plain `pulumi
up` and for images of which nothing can be told before they are pulled; but by then the old one is gone.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from components.base.daemon import Daemon, DaemonError
from operations.image_in_use import change, name_and_tag
from settings import Problem, Settings

PART: Final = "postgres"
ALPINE: Final = "Alpine"
DEBIAN: Final = "Debian"
_DEBIAN_PROGRAMS: Final = "/usr/lib/postgresql/"
_ALPINE_PROGRAMS: Final = "/usr/local/bin/"
_UID: Final = "70"
"""Whom the files belong to."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What of a PostgreSQL decides whose data it takes; empty where it cannot be told."""

    version: str = ""
    """Major version."""
    family: str = ""
    """The distribution whose way to sort text it has."""

    def __str__(self) -> str:
        """Return it as people call it."""
        return " ".join(filter(None, ("PostgreSQL", self.version, f"of {self.family}" if self.family else "")))

    def refuses(self, made: "Kind") -> bool:
        """Return whether it must not be given data `made` by the other."""
        return any(
            one and other and one != other for one, other in ((self.version, made.version), (self.family, made.family))
        )


def kind_of_environment(variables: Iterable[str]) -> Kind:
    """Return what an image's own variables, each <name>=<value>, tell of it."""
    environment = dict(variable.partition("=")[::2] for variable in variables)
    packaged = re.search(rf"{_DEBIAN_PROGRAMS}(\d+)/bin", environment.get("PATH", ""))
    if packaged:
        return Kind(version=packaged[1], family=DEBIAN)
    version = environment.get("PG_MAJOR", "")
    return Kind(version=version, family=ALPINE if version else "")


def kind_of_reference(reference: str) -> Kind:
    """Return what the name of an image tells that is not there yet; nothing of those with numbers of their own."""
    repository, tag = name_and_tag(reference)
    found = re.match(r"(\d+)(?:[.-]|$|(?:beta|rc)\d)", tag)
    if PurePosixPath(repository).name != PART or not found:
        return Kind()
    return Kind(version=found[1], family=ALPINE if "alpine" in tag else DEBIAN)


def kind_of_volume(files: str) -> Kind:
    """Return who made the data, by the text of PG_VERSION and postmaster.opts, one behind the other."""
    version, _, options = files.partition("\n")
    family = ""
    if options.startswith(_DEBIAN_PROGRAMS):
        family = DEBIAN
    elif options.startswith(_ALPINE_PROGRAMS):
        family = ALPINE
    return Kind(version=version.strip(), family=family)


def problems(settings: Settings, daemon: Daemon, image_in_use: tuple[str, str] | None) -> Iterator[Problem]:
    """Yield what keeps the image of the settings from the data that are there.

    `image_in_use` is the reference and the id in the state, None where there is none or it is not known; while the
    settings still name that one, nobody is asked.
    """
    asked = change(settings, PART, image_in_use)
    if asked is None:
        return
    made = _volume(daemon, f"{settings.prefix}-{PART}", asked.former_id)
    found = _image(daemon, asked.wanted) or kind_of_reference(asked.wanted)
    if made is not None and found.refuses(made):
        yield Problem(
            setting=asked.setting,
            given=f"{asked.wanted}, which is {found}, for data made by {made}",
            allowed=f"an image of the same major version and family as {asked.former}",
            remedy="Keep that image (pulumi config set --path images.references.postgres <reference>), "
            "or dump there and restore here: docs/deploy.md",
        )


def _image(daemon: Daemon, reference: str) -> Kind | None:
    try:
        variables = json.loads(daemon.run("image", "inspect", "--format", "{{json .Config.Env}}", reference))
    except DaemonError:
        return None  # not there yet
    kind = kind_of_environment(variables or ())
    return None if kind == Kind() else kind


def _volume(daemon: Daemon, volume: str, image_id: str) -> Kind | None:
    """Return who made the data in `volume`, None where there are none or nobody can look."""
    look = ("run", "--rm", "--network", "none", "--user", f"{_UID}:{_UID}", "--volume", f"{volume}:/data:ro")
    files = "cat /data/PG_VERSION && { cat /data/postmaster.opts || true; }"
    try:
        # Looked for first: Docker would make it.
        if not daemon.run("volume", "ls", "--quiet", "--filter", f"name=^{volume}$").strip():
            return None
        # In the image they were last served by: it is on the host, and nothing has to be fetched.
        return kind_of_volume(daemon.run(*look, "--entrypoint", "sh", image_id, "-c", files))
    except DaemonError:
        return None
