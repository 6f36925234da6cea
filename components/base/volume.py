"""Volumes, which no run of the program ever deletes."""

import pulumi
import pulumi_docker as docker

from components.base.handles import DockerHost
from components.base.ownership import LABEL_STACK


def volume(name: str, host: DockerHost, role: str, parent: pulumi.Resource) -> docker.Volume:
    """Make sure of the volume `<prefix>-<role>`.

    Docker keeps an existing volume of the same name as it is, and no edit may replace one, so its data survives a
    removed and recreated stack. Deleting data is an explicit step outside this program.
    """
    return docker.Volume(
        name,
        docker.VolumeArgs(
            name=f"{host.prefix}-{role}",
            labels=[docker.VolumeLabelArgs(label=LABEL_STACK, value=host.prefix)],
        ),
        opts=pulumi.ResourceOptions(
            parent=parent,
            provider=host.provider,
            protect=True,
            retain_on_delete=True,
            # Every attribute of a volume forces its replacement, labels too.
            ignore_changes=["labels", "driver", "driverOpts"],
        ),
    )
