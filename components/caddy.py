"""Caddy, the edge: the only service with published ports."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi

from components.handover import CertificateHandle, DockerHost
from components.service import HealthCheck, Port, Protocol, ServiceArgs, service, volume
from components.step import StepArgs, step
from rendering import caddyfile
from rendering.archive import archive

# The root file system is read-only, so the base configuration comes as a variable. exec: signals reach Caddy itself.
_RUN: Final = f"""\
set -eu
mkdir -p {caddyfile.CONFIG_DIRECTORY}
printf '%s' "$BASE_CADDYFILE" > {caddyfile.BASE_FILE}
exec caddy run --config {caddyfile.BASE_FILE} --adapter caddyfile
"""

# A release is unpacked beside the live one, judged by Caddy itself, and only then made live: come what may, a restart
# finds a whole configuration. Reloading hands the sockets over, so no request is dropped.
_DELIVER: Final = f"""\
set -eu
umask 077
cd {caddyfile.CONFIG_DIRECTORY}
mkdir -p releases
rm -rf incoming && mkdir incoming
base64 -d | tar -x -f - -C incoming
release=$(cat incoming/identifier)
rm -rf "releases/$release" && mv incoming "releases/$release"
CADDY_RELEASE="$PWD/releases/$release" caddy validate --config {caddyfile.BASE_FILE} --adapter caddyfile
ln -sfn "releases/$release" live.new && mv -T live.new live
caddy reload --config {caddyfile.BASE_FILE} --adapter caddyfile --address unix/{caddyfile.ADMIN_SOCKET}
for old in releases/*; do
    [ "$old" = "releases/$release" ] || rm -rf "$old"
done
"""


@dataclass(frozen=True, kw_only=True)
class CaddyArgs:
    """The edge."""

    host: DockerHost
    image: pulumi.Input[str]
    command: Sequence[str]
    """Arguments the image needs to play this part; empty for the official one."""
    app_names: Sequence[str]
    """DNS names and addresses of the application, the canonical name first."""
    s3_name: str
    """DNS name of the object store; empty where there is none on this host."""
    bind_addresses: Sequence[str]
    https_port: int
    http_port: int
    certificate: CertificateHandle
    ready: Sequence[pulumi.Resource]
    """What has to work before anything is published."""


class Caddy(pulumi.ComponentResource):
    """The edge: TLS, redirects and routes to the application and the object store.

    Routes and certificate are delivered into its volume and taken over by a graceful reload, so neither a renewal nor a
    changed route replaces the container or drops a request.
    """

    ready: pulumi.Resource
    """The edge serves."""

    def __init__(self, name: str, args: CaddyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:caddy:Caddy", name, {}, opts)
        canonical = args.app_names[0]
        container = service(
            f"{name}-container",
            ServiceArgs(
                host=args.host,
                service="caddy",
                image=args.image,
                port=args.https_port,
                command=[*args.command, "sh", "-c", _RUN],
                environment={"BASE_CADDYFILE": caddyfile.base(canonical)},
                volumes={
                    "/config": volume(f"{name}-config", args.host, "caddy-config", self),
                    "/data": volume(f"{name}-data", args.host, "caddy-data", self),
                },
                tmpfs={
                    "/run/caddy": "rw,noexec,nosuid,size=1m,mode=0700",
                    "/tmp": "rw,noexec,nosuid,size=64m",
                },
                ports=[
                    Port(number=number, address=address, protocol=protocol)
                    for address in args.bind_addresses
                    for number, protocol in (
                        (args.https_port, Protocol.TCP),
                        (args.https_port, Protocol.UDP),
                        (args.http_port, Protocol.TCP),
                    )
                ],
                # As in the official image: root owns the volumes there, and keeps no capability but this one.
                user="0:0",
                capabilities=["CAP_NET_BIND_SERVICE"],
                networks={
                    # The public names resolve to the edge inside too, so one URL is right on both sides.
                    "application": [name for name in (canonical, args.s3_name) if name],
                    **({"storage": ()} if args.s3_name else {}),
                },
                health=HealthCheck(
                    # No -T: Debian's busybox crashes on it, and Docker has a time-out of its own.
                    test=("CMD", "wget", "-q", "-O", "/dev/null", f"http://127.0.0.1:{caddyfile.HEALTH_PORT}/healthy"),
                    timeout_seconds=6,
                    start_period_seconds=30,
                ),
                # Longer than its own grace period for requests that are under way.
                stop_grace_seconds=40,
                depends_on=args.ready,
            ),
            self,
        )
        release = pulumi.Output.all(
            certificate_pem=args.certificate.certificate_pem, private_key_pem=args.certificate.private_key_pem
        ).apply(
            lambda pem: _release_archive(
                caddyfile.release(
                    app_names=args.app_names,
                    s3_name=args.s3_name,
                    https_port=args.https_port,
                    http_port=args.http_port,
                    certificate_pem=pem["certificate_pem"],
                    private_key_pem=pem["private_key_pem"],
                )
            )
        )
        self.ready = step(
            f"{name}-release",
            StepArgs(
                host=args.host,
                container=container,
                service="caddy",
                script=_DELIVER,
                stdin=pulumi.Output.secret(release),
            ),
            self,
        )
        self.register_outputs({})


def _release_archive(release: caddyfile.Release) -> str:
    return archive(
        {
            "identifier": release.identifier,
            caddyfile.SITE_FILE: release.site,
            caddyfile.CERTIFICATE_FILE: release.certificate,
        }
    )
