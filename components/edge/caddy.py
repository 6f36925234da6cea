"""Caddy, the edge: the only service with published ports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import pulumi

from components.base.handles import CertificateHandle, DockerHost, Service, Site
from components.base.service import HealthCheck, Port, Protocol, ServiceArgs, service
from components.base.step import StepArgs, step
from components.base.volume import volume
from rendering import caddyfile
from rendering.archive import archive

# The root file system is read-only, so what the container brings along comes as variables. exec: signals reach Caddy.
#
# What is live was written for the Caddy of then. Another one may not know a word of it, and a power cut may have left
# half of it: it is set aside, and a Caddy that answers 503 is healthy all the same, since what would mend it is
# delivered into the running container.
_RUN: Final = f"""\
set -eu
mkdir -p {caddyfile.CONFIG_DIRECTORY}/standby
cd {caddyfile.CONFIG_DIRECTORY}
printf '%s' "$BASE_CADDYFILE" > {caddyfile.BASE_FILE}
printf '%s' "$STANDBY_SITES" > standby/{caddyfile.SITES_FILE}
printf '%s' "$STANDBY_NAMES" > standby/{caddyfile.NAMES_FILE}
fault=
if [ ! -s live/{caddyfile.SITES_FILE} ] || [ ! -s live/{caddyfile.NAMES_FILE} ]; then
    fault='it is missing or not complete'
elif ! said=$(caddy validate --config {caddyfile.BASE_FILE} --adapter caddyfile 2>&1); then
    fault=$said
fi
if [ -n "$fault" ]; then
    echo "Answering 503 until the configuration is delivered: what is live cannot be served: $fault" >&2
    rm -rf live
    export CADDY_RELEASE="$PWD/standby"
fi
exec caddy run --config {caddyfile.BASE_FILE} --adapter caddyfile
"""

# Each certificate is replaced in one move and read at the next handshake. A release that is not the one that is live,
# to the letter, is taken over by a reload, and made live only then: whatever happens, a restart finds a configuration
# that works. What nobody needs any more goes last, with the one file in which an earlier release kept its certificate.
_DELIVER: Final = f"""\
set -eu
umask 077
cd {caddyfile.CONFIG_DIRECTORY}
rm -rf incoming && mkdir -p incoming releases {caddyfile.CERTIFICATES_DIRECTORY}
base64 -d | tar -x -f - -C incoming
kept=$(cat incoming/kept)
for file in $kept; do
    mv "incoming/$file" "{caddyfile.CERTIFICATES_DIRECTORY}/$file"
done
release=releases/$(cat incoming/identifier)
is_live() {{
    [ "$(readlink live || true)" = "$release" ] &&
        cmp -s incoming/{caddyfile.SITES_FILE} live/{caddyfile.SITES_FILE} &&
        cmp -s incoming/{caddyfile.NAMES_FILE} live/{caddyfile.NAMES_FILE}
}}
if ! is_live; then
    rm -rf "$release" && mv incoming "$release"
    CADDY_RELEASE="$PWD/$release" caddy reload --config {caddyfile.BASE_FILE} --adapter caddyfile \\
        --address unix/{caddyfile.ADMIN_SOCKET}
    ln -sfn "$release" live.new && mv -T live.new live
fi
for old in incoming edge.pem releases/* {caddyfile.CERTIFICATES_DIRECTORY}/*; do
    case " $release $kept " in
    *" $old "* | *" ${{old##*/}} "*) ;;
    *) rm -rf "$old" ;;
    esac
done
"""


@dataclass(frozen=True, kw_only=True)
class CaddyArgs:
    """The edge."""

    host: DockerHost
    image: pulumi.Input[str]
    memory_mib: int
    sites: Sequence[Site]
    """What it serves; a client that names nothing is shown the first one's certificate."""
    bind_addresses: Sequence[str]
    public_port: int
    """The port in the URLs people see; it listens there, so that one URL is right inside the stack and outside."""
    https_port: int
    """The port the host publishes for it."""
    http_port: int
    service: str = "caddy"
    """Its name in the stack, and what its volumes' begin with."""

    def __post_init__(self) -> None:
        if not self.sites:
            raise ValueError("sites must hold one site or more")
        handles = [site.certificate for site in self.sites]
        for name in dict.fromkeys(handle.name for handle in handles):
            # Each is delivered as the file of its name.
            if len({id(handle) for handle in handles if handle.name == name}) > 1:
                raise ValueError(f"sites have two certificates called {name}")


class Caddy(pulumi.ComponentResource):
    """The edge: TLS, redirects, and the routes of every site.

    Certificates and routes are delivered into its volume. A renewed certificate is served from the next handshake on,
    without so much as a reload; changed routes are taken over by one. Neither replaces the container.
    """

    service: Service
    """The server."""
    ready: pulumi.Resource
    """The edge serves."""

    def __init__(self, name: str, args: CaddyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:caddy:Caddy", name, {}, opts)
        # The public names resolve to the edge inside too, so one URL is right on both sides.
        networks: dict[str, list[str]] = {"application": []}
        for site in args.sites:
            networks.setdefault(site.network, [])
            networks["application"].append(site.names[0])
        standby = caddyfile.standby(
            _file(args.sites[0].certificate), https_port=args.public_port, http_port=args.http_port
        )
        self.service = service(
            f"{name}-container",
            ServiceArgs(
                host=args.host,
                service=args.service,
                image=args.image,
                memory_mib=args.memory_mib,
                port=args.public_port,
                command=["sh", "-c", _RUN],
                environment={
                    "BASE_CADDYFILE": caddyfile.base(args.sites[0].names[0]),
                    "STANDBY_SITES": standby.sites,
                    "STANDBY_NAMES": standby.names,
                },
                volumes={
                    "/config": volume(f"{name}-config", args.host, f"{args.service}-config", self),
                    "/data": volume(f"{name}-data", args.host, f"{args.service}-data", self),
                },
                tmpfs={
                    "/run/caddy": "rw,noexec,nosuid,size=1m,mode=0700",
                    "/tmp": "rw,noexec,nosuid,size=64m",
                },
                ports=[
                    Port(inside=inside, outside=outside, address=address, protocol=protocol)
                    for address in args.bind_addresses
                    for inside, outside, protocol in (
                        (args.public_port, args.https_port, Protocol.TCP),
                        (args.public_port, args.https_port, Protocol.UDP),
                        (args.http_port, args.http_port, Protocol.TCP),
                    )
                ],
                # As in the official image: root owns the volumes there, and keeps no capability but this one.
                user="0:0",
                capabilities=["CAP_NET_BIND_SERVICE"],
                networks=networks,
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
                # Nothing is published before it works.
                depends_on=[resource for site in args.sites for resource in site.ready],
            ),
            self,
        )
        certificates = {_file(site.certificate): site.certificate for site in args.sites}
        release = caddyfile.release(
            [
                caddyfile.SiteText(
                    names=site.names,
                    certificate_file=_file(site.certificate),
                    routes=[
                        caddyfile.RouteText(paths=route.paths, upstream=route.upstream, canonical=route.canonical)
                        for route in site.routes
                    ],
                    closed=site.closed,
                    policy=site.policy,
                )
                for site in args.sites
            ],
            https_port=args.public_port,
            http_port=args.http_port,
        )
        delivery = pulumi.Output.all(
            **{
                file: pulumi.Output.all(handle.certificate_pem, handle.private_key_pem)
                for file, handle in certificates.items()
            }
        ).apply(partial(_delivery, release))
        self.ready = step(
            f"{name}-release",
            StepArgs(service=self.service, script=_DELIVER, stdin=pulumi.Output.secret(delivery)),
            self,
        )
        self.register_outputs({})


def _file(certificate: CertificateHandle) -> str:
    return f"{certificate.name}.pem"


def _delivery(release: caddyfile.Release, pems: Mapping[str, Sequence[str]]) -> str:
    """Return the archive with a release and the certificates; of each the leaf with its chain, then the key."""
    return archive(
        {
            "identifier": release.identifier,
            "kept": " ".join(sorted(pems)),
            caddyfile.SITES_FILE: release.sites,
            caddyfile.NAMES_FILE: release.names,
            **{file: caddyfile.certificate(*pem) for file, pem in pems.items()},
        }
    )
