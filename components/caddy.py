"""Caddy, the edge: the only service with published ports."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
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

# The certificate is replaced in one move and read at the next handshake. A changed release is taken over by a reload,
# and made live only then: whatever happens, a restart finds a configuration that works.
_DELIVER: Final = f"""\
set -eu
umask 077
cd {caddyfile.CONFIG_DIRECTORY}
rm -rf incoming && mkdir -p incoming releases
base64 -d | tar -x -f - -C incoming
mv incoming/{caddyfile.CERTIFICATE_FILE} {caddyfile.CERTIFICATE_FILE}
release=releases/$(cat incoming/identifier)
if [ "$(readlink live || true)" != "$release" ]; then
    rm -rf "$release" && mv incoming "$release"
    CADDY_RELEASE="$PWD/$release" caddy reload --config {caddyfile.BASE_FILE} --adapter caddyfile \\
        --address unix/{caddyfile.ADMIN_SOCKET}
    ln -sfn "$release" live.new && mv -T live.new live
fi
for old in incoming releases/*; do
    [ "$old" = "$release" ] || rm -rf "$old"
done
"""


@dataclass(frozen=True, kw_only=True)
class CaddyArgs:
    """The edge."""

    host: DockerHost
    image: pulumi.Input[str]
    app_names: Sequence[str]
    """DNS names and addresses of the application, the canonical name first."""
    s3_name: str
    """DNS name of the object store; empty where there is none on this host."""
    s3_upstream: str
    """URL of the object store inside the stack; empty where there is none on this host."""
    bind_addresses: Sequence[str]
    https_port: int
    http_port: int
    certificate: CertificateHandle
    ready: Sequence[pulumi.Resource]
    """What has to work before anything is published."""


class Caddy(pulumi.ComponentResource):
    """The edge: TLS, redirects and routes to the application and the object store.

    Certificate and routes are delivered into its volume. A renewed certificate is served from the next handshake on,
    without so much as a reload; changed routes are taken over by one. Neither replaces the container.
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
                command=["sh", "-c", _RUN],
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
                    test=(
                        "CMD",
                        "wget",
                        "-q",
                        "-O",
                        "/dev/null",
                        f"http://127.0.0.1:{caddyfile.LOOPBACK_PORT}/healthy",
                    ),
                    timeout_seconds=6,
                    start_period_seconds=30,
                ),
                # Longer than its own grace period for requests that are under way.
                stop_grace_seconds=40,
                depends_on=args.ready,
            ),
            self,
        )
        release = caddyfile.release(
            app_names=args.app_names,
            s3_name=args.s3_name,
            s3_upstream=args.s3_upstream,
            https_port=args.https_port,
            http_port=args.http_port,
        )
        delivery = pulumi.Output.all(args.certificate.certificate_pem, args.certificate.private_key_pem).apply(
            partial(_delivery, release)
        )
        self.ready = step(
            f"{name}-release",
            StepArgs(
                host=args.host,
                container=container,
                service="caddy",
                script=_DELIVER,
                stdin=pulumi.Output.secret(delivery),
            ),
            self,
        )
        self.register_outputs({})


def _delivery(release: caddyfile.Release, pem: Sequence[str]) -> str:
    """Return the archive with a release and a certificate; `pem` is the leaf with its chain, then the key."""
    return archive(
        {
            "identifier": release.identifier,
            caddyfile.SITE_FILE: release.site,
            caddyfile.CERTIFICATE_FILE: caddyfile.certificate(*pem),
        }
    )
