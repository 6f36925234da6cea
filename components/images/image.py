"""The images of a stack: pulled by a pinned reference, or built on the Docker host from a staged context."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pulumi
import pulumi_docker as docker

from components.base.handles import DockerHost
from rendering.reference import digest_of, is_pinned, registry_of


@dataclass(frozen=True, kw_only=True)
class ImageArgs:
    """One image."""

    reference: str
    """`name:tag[@sha256:digest]`; for a built image the tag is a hash of everything it is built from."""
    context: str | None = None
    """Build context relative to the project; None means the image is pulled."""
    base: str | None = None
    """Name of the image of the same `ImagesArgs` it is built from."""
    digest: str | None = None
    """What a tag was first pulled as (`sha256:…`): another image under the same tag is refused."""

    def __post_init__(self) -> None:
        if not is_pinned(self.reference):
            raise ValueError(f"image {self.reference!r} is not pinned: give a digest or an exact tag")


@dataclass(frozen=True, kw_only=True)
class ImagesArgs:
    """The images of a stack, a base before what is built from it."""

    host: DockerHost
    images: Mapping[str, ImageArgs]
    pulls: pulumi.Output[str] | None = None
    """Known once images can be pulled; None: at once."""


class Images(pulumi.ComponentResource):
    """Makes sure of a set of images on a Docker host before any container is touched.

    One that is not what its tag meant before ends the run, and no container is touched. Images are never removed: the
    next stack or the way back may need them, and removing by name can hit the wrong one.
    """

    ids: Mapping[str, pulumi.Output[str]]
    """Image name → image id (`sha256:…`), which pins a container to exactly this image."""

    def __init__(self, name: str, args: ImagesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:image:Images", name, {}, opts)
        made: dict[str, docker.RemoteImage] = {}
        refusal = pulumi.ResourceHookBinding(on_error=[_refused_login(name)])
        for key, image in args.images.items():
            build = None
            if image.context is not None:
                build = docker.RemoteImageBuildArgs(
                    context=image.context,
                    build_args={"BASE": made[image.base].name} if image.base is not None else None,
                    # The contexts need no feature of BuildKit, and the classic builder is on every engine.
                    use_legacy_builder=True,
                    remove=True,
                    force_remove=True,
                )
            made[key] = docker.RemoteImage(
                f"{name}-{key}",
                docker.RemoteImageArgs(name=_reference(image, args.pulls), build=build, keep_locally=True),
                opts=pulumi.ResourceOptions(
                    parent=self,
                    provider=args.host.provider,
                    custom_timeouts=pulumi.CustomTimeouts(create="1h0m0s"),
                    hooks=refusal if build is None else None,
                ),
            )
        self.ids = {key: image.image_id for key, image in made.items()}
        known = {key: image for key, image in args.images.items() if image.digest is not None}
        if known:
            verified = pulumi.Output.all(**{key: made[key].repo_digest for key in known}).apply(
                partial(refuse_moved, known)
            )
            # All before any: a run that is going to be refused must not have replaced half of the containers. A preview
            # touches none, and there one image that is not known yet would make all of them look like another.
            if not pulumi.runtime.is_dry_run():
                self.ids = {key: pulumi.Output.all(id_, verified).apply(_first) for key, id_ in self.ids.items()}
        self.register_outputs({})


def _reference(image: ImageArgs, pulls: pulumi.Output[str] | None) -> pulumi.Input[str]:
    """Return the reference of an image, once it can be pulled.

    It is waited for here and not by the engine: images stay when a stack is taken down, as would all they depend on.
    """
    if pulls is None or image.context is not None:
        return image.reference

    async def waited() -> str:
        await pulls.future()
        return image.reference

    return waited()


def refuse_moved(known: Mapping[str, ImageArgs], found: Mapping[str, str]) -> None:
    """Hold what images are against what they were; `found` has what the daemon says of each, `<name>@<digest>`.

    Raises: pulumi.RunError, which the engine shows without a traceback, with a line for each that is another.
    """
    moved = []
    for key, image in known.items():
        digest = digest_of(found[key] or "")
        if digest != image.digest:
            now = f"is {digest} now" if digest else "has no digest now, as it was not pulled but loaded or built"
            moved.append(
                f"the image {image.reference} {now} and was {image.digest}: the tag was moved, and no container is "
                f"touched. If that is meant to be: make images-accept; to stay with what it was, give it as "
                f"{image.reference.rpartition(':')[0]}@{image.digest}"
            )
    if moved:
        raise pulumi.RunError("\n".join(moved))


def _first(values: Sequence[str]) -> str:
    return values[0]


def _refused_login(name: str) -> pulumi.ErrorHook:
    """Say which setting to mend where a registry does not let us in: the daemon names addresses only."""

    async def explain(failure: pulumi.ErrorHookArgs) -> bool:
        said = " ".join(failure.errors).lower()
        if any(word in said for word in ("unauthorized", "access denied", "no basic auth", "authentication required")):
            reference = str((failure.new_inputs or failure.old_inputs or {})["name"])
            registry = registry_of(reference)
            login = f'images.registries["{registry}"]'
            pulumi.log.error(
                f"{registry} does not give out {reference} with this login, or without one. Set the right one: "
                f"pulumi config set --path '{login}.username' <name> and "
                f"pulumi config set --secret --path '{login}.password'"
            )
        return False

    return pulumi.ErrorHook(f"{name}-refused-login", explain)
