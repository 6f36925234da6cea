"""Volumes, which no run of the program ever deletes."""

import pulumi
import pulumi_docker as docker

from components.base.handles import DockerHost
from components.base.ownership import LABEL_DEPLOYMENT, LABEL_STACK


def volume(name: str, host: DockerHost, role: str, parent: pulumi.Resource, *, optional: bool = False) -> docker.Volume:
    """Make sure of the volume `<prefix>-<role>`; `optional`: a mode brings it that can be switched off.

    Docker keeps an existing volume of the same name as it is, and no edit may replace one, so its data survives a
    removed and recreated stack. Deleting data is an explicit step outside this program. An optional one leaves the
    state without a word when its mode is switched off, stays on the host, and is found again when it is switched on.
    """
    return docker.Volume(
        name,
        docker.VolumeArgs(
            name=f"{host.prefix}-{role}",
            labels=[
                docker.VolumeLabelArgs(label=LABEL_DEPLOYMENT, value=host.deployment),
                docker.VolumeLabelArgs(label=LABEL_STACK, value=host.prefix),
            ],
        ),
        opts=pulumi.ResourceOptions(
            parent=parent,
            provider=host.provider,
            # The engine lets nothing protected leave the program: a change of mode would stop half-way, at every run.
            protect=not optional,
            retain_on_delete=True,
            # Every attribute of a volume forces its replacement, labels too.
            ignore_changes=["labels", "driver", "driverOpts"],
            hooks=host.volume_hooks,
        ),
    )
