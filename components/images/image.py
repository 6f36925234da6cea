"""The images of a stack: pulled by a pinned reference, or built on the Docker host from a staged context."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from components.base.handles import DockerHost
from rendering.reference import is_pinned


@dataclass(frozen=True, kw_only=True)
class ImageArgs:
    """One image."""

    reference: str
    """`name:tag[@sha256:digest]`; for a built image the tag is a hash of everything it is built from."""
    context: str | None = None
    """Build context relative to the project; None means the image is pulled."""
    base: str | None = None
    """Name of the image of the same `ImagesArgs` it is built from."""

    def __post_init__(self) -> None:
        if not is_pinned(self.reference):
            raise ValueError(f"image {self.reference!r} is not pinned: give a digest or an exact tag")


@dataclass(frozen=True, kw_only=True)
class ImagesArgs:
    """The images of a stack, a base before what is built from it."""

    host: DockerHost
    images: Mapping[str, ImageArgs]


class Images(pulumi.ComponentResource):
    """Makes sure of a set of images on a Docker host before any container is touched.

    Images are never removed: the next stack or the way back may need them, and removing by name can hit the wrong one.
    """

    ids: Mapping[str, pulumi.Output[str]]
    """Image name → image id (`sha256:…`), which pins a container to exactly this image."""

    def __init__(self, name: str, args: ImagesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:image:Images", name, {}, opts)
        made: dict[str, docker.RemoteImage] = {}
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
                docker.RemoteImageArgs(name=image.reference, build=build, keep_locally=True),
                opts=pulumi.ResourceOptions(
                    parent=self,
                    provider=args.host.provider,
                    custom_timeouts=pulumi.CustomTimeouts(create="1h0m0s"),
                ),
            )
        self.ids = {key: image.image_id for key, image in made.items()}
        self.register_outputs({})
