"""The images of a stack."""

from collections.abc import Mapping

import pulumi

from components.base.handles import DockerHost, Image
from components.images.image import ImageArgs, Images, ImagesArgs
from settings.images import ImageSources


def images(
    name: str, sources: ImageSources, host: DockerHost, *, pulls: pulumi.Output[str] | None = None
) -> Mapping[str, Image]:
    """Make sure of every image on `host`, and return which plays which part; none is pulled before `pulls` is known."""
    made = Images(
        name,
        ImagesArgs(
            host=host,
            pulls=pulls,
            images={
                image: ImageArgs(
                    reference=source.reference, context=source.context, base=source.base, digest=source.digest
                )
                for image, source in sources.images.items()
            },
        ),
    )
    return {
        part: Image(id=made.ids[image], command=sources.commands.get(part, ())) for part, image in sources.parts.items()
    }
