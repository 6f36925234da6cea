"""A relay: TLS, and on request mutual TLS, in front of anything that speaks HTTP or WebSocket."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi

from components.base.handles import NOBODY, CertificateHandle, DockerHost, Service, TrustBundle
from components.base.service import HealthCheck, Port, ServiceArgs, service
from components.base.step import StepArgs, step
from components.base.volume import volume
from rendering import caddyfile, taking_over
from rendering import relay as rendering
from rendering.archive import archive

_LEVEL_FILE: Final = f"{caddyfile.RUN_DIRECTORY}/level"
_LOOPBACK_FILE: Final = f"{caddyfile.RUN_DIRECTORY}/loopback"

# Where a front of the level in $1 listens, and where it asks itself.
_LISTEN: Final = f"""\
listen() {{
    own=
    for one in $(hostname -i); do
        case $one in *:*) ;; *) own="$own tcp4/$one" ;; esac
    done
    case $1 in
    0) RELAY_ADDRESSES="{rendering.ADDRESSES[0]}" ;;
    1) RELAY_ADDRESSES="{rendering.ADDRESSES[1]}" ;;
    *) RELAY_ADDRESSES="$own" ;;
    esac
    RELAY_LOOPBACK={rendering.LOOPBACK_NETWORK}$(($1 + 1))
    export RELAY_ADDRESSES RELAY_LOOPBACK
}}
"""

# As the edge's container does it (components/edge/caddy.py): what travels in variables is written down, a router that
# ends is started again, and what is live and cannot be served is set aside. So is what was made live for another client
# authority: until the right release is delivered nobody is let in, rather than somebody too many.
_RUN: Final = f"""\
set -eu
umask 077
mkdir -p {caddyfile.CONFIG_DIRECTORY}
cd {caddyfile.CONFIG_DIRECTORY}
rm -rf standby && mkdir standby
printf '%s' "$STANDBY_FRONT" > standby/{rendering.FRONT_FILE}
printf '%s' "$STANDBY_ROUTER" > standby/{rendering.ROUTER_FILE}
{_LISTEN}
takes() {{
    caddy validate --config "live/$1" --adapter caddyfile 2>&1
}}
choose() {{
    rm -rf {caddyfile.SOCKETS_DIRECTORY} && mkdir {caddyfile.SOCKETS_DIRECTORY}
    CADDY_SOCKETS=$(mktemp -d {caddyfile.SOCKETS_DIRECTORY}/XXXXXX)
    export CADDY_SOCKETS
    release=live fault=
    if [ "$(cat live/{rendering.AUTHORITY_FILE} 2> /dev/null || echo none)" != "$CLIENT_AUTHORITY" ]; then
        fault='there is nothing for this client authority'
    elif ! said=$(takes {rendering.FRONT_FILE} && takes {rendering.ROUTER_FILE}); then
        fault=$said
    fi
    if [ -n "$fault" ]; then
        echo "Nothing is served until the configuration is delivered: what is live cannot be: $fault" >&2
        rm -rf live
        release=standby
        export CADDY_DRAIN=0s
    fi
    ln -sfn "$CADDY_SOCKETS" {caddyfile.SERVING}
}}
listen 0
echo 0 > {_LEVEL_FILE}
echo "$RELAY_LOOPBACK" > {_LOOPBACK_FILE}
choose
front=$release
while :; do
    caddy run --config "$release/{rendering.ROUTER_FILE}" --adapter caddyfile &
    wait $! || echo "The router has ended ($?), and is started again" >&2
    sleep 1
    choose
done &
exec caddy run --config "$front/{rendering.FRONT_FILE}" --adapter caddyfile
"""

# The certificate is replaced in one move. The front goes first: where a root is not trusted any more, nobody with a
# certificate of it may reach what the new router leads to. Its level rises once it has been taken over, and what is
# live is the new release once both have been: whatever happens, the next delivery finds out what is left to do.
_DELIVER: Final = f"""\
set -eu
umask 077
cd {caddyfile.CONFIG_DIRECTORY}
rm -rf incoming && mkdir -p incoming releases
base64 -d | tar -x -f - -C incoming
mv incoming/{rendering.CERTIFICATE_FILE} {rendering.CERTIFICATE_FILE}
release=releases/$(cat incoming/identifier)
{_LISTEN}
differs() {{
    ! cmp -s "$release/$1" "live/$1"
}}
reload() {{
    RELAY_RELEASE="$PWD/$release" caddy reload --config "$release/$1" --adapter caddyfile --address "unix/$2"
}}
{taking_over.functions(rendering.SOCKETS)}
is_live() {{
    for file in incoming/*; do
        cmp -s "$file" "live/${{file##*/}}" || return 1
    done
}}
if ! is_live; then
    rm -rf "$release" && mv incoming "$release"
    if differs {rendering.FRONT_FILE}; then
        level=$(cat {_LEVEL_FILE})
        [ ! -e live ] || [ "$level" -ge {len(rendering.ADDRESSES) - 1} ] || level=$((level + 1))
        listen "$level"
        reload {rendering.FRONT_FILE} {rendering.FRONT_SOCKET}
        echo "$level" > {_LEVEL_FILE}
        echo "$RELAY_LOOPBACK" > {_LOOPBACK_FILE}
    fi
    if differs {rendering.ROUTER_FILE} || differs {rendering.TRUSTED_FILE}; then
        take_over reload {rendering.ROUTER_FILE} {rendering.ROUTER_SOCKET}
    fi
    ln -sfn "$release" live.new && mv -T live.new live
fi
for old in incoming releases/*; do
    [ "$old" = "$release" ] || rm -rf "$old"
done
"""


@dataclass(frozen=True, kw_only=True)
class Clients:
    """Whose certificates clients of a relay have to show."""

    said_by: str
    """What of the settings says so, such as `authority agents`; something else there makes a new container."""
    roots: TrustBundle
    """Those their certificates lead to; of an authority the trusted ones of all its generations."""
    revoked: pulumi.Input[str] = ""
    """PEM of their revocation lists (CRL)."""

    def __post_init__(self) -> None:
        if not self.roots.certificates:
            raise ValueError(f"{self.said_by}: no roots, so nobody could be let in")


@dataclass(frozen=True, kw_only=True)
class RelayArgs:
    """A relay."""

    host: DockerHost
    image: pulumi.Input[str]
    memory_mib: int
    service: str
    """Its name in the stack, and what its volume's begins with."""
    upstream: str
    """URL of what it stands in front of."""
    upstream_name: str | None = None
    """The name the certificate of an https upstream has, where that is not the host of its URL."""
    upstream_trust: TrustBundle = NOBODY
    """Whom it trusts besides the public authorities when it calls an https upstream."""
    elsewhere: bool = False
    """Whether the upstream is none of the stack's."""
    networks: Sequence[str] = ()
    """Roles of the networks the upstream is on, besides that of the application."""
    port: int
    """What the host publishes."""
    bind_addresses: Sequence[str]
    certificate: CertificateHandle
    """What it shows."""
    clients: Clients | None = None
    """Whose certificates clients have to show; None: they have to show none."""
    allowed: Sequence[CertificateHandle] | None = None
    """The certificates that are let in; None: all of the authority are."""
    refused: Sequence[pulumi.Input[str]] = ()
    """PEM of each certificate that is refused besides, leaf first."""
    identity: str = "X-Client-Certificate"
    """What the names of the headers begin with by which the upstream learns who a client is."""
    websocket_hours: int = 12
    """The longest a WebSocket may live, also one that was opened before a change."""
    depends_on: Sequence[pulumi.Resource] = ()

    def __post_init__(self) -> None:
        if self.clients is None and self.allowed is not None:
            raise ValueError(f"{self.service}: who is let in can be said of clients with certificates only")
        if self.allowed is not None and not self.allowed:
            raise ValueError(f"{self.service}: nobody is let in")


class Relay(pulumi.ComponentResource):
    """TLS in front of an upstream, on a port of its own, and on request for clients with a certificate only.

    A renewed certificate is served from the next handshake on; a changed upstream, list of clients, revocation or root
    of the client authority is taken over by a reload. None replaces the container or loses a request, see
    docs/decisions/0022-relays.md; another client authority does replace it.
    """

    service: Service
    """The server."""
    ready: pulumi.Resource
    """The relay serves."""

    def __init__(self, name: str, args: RelayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:relay:Relay", name, {}, opts)
        front, router = rendering.standby()
        self.service = service(
            f"{name}-container",
            ServiceArgs(
                host=args.host,
                service=args.service,
                image=args.image,
                memory_mib=args.memory_mib,
                port=rendering.PORT,
                command=["sh", "-c", _RUN],
                environment={
                    "CLIENT_AUTHORITY": _for_whom(args),
                    "STANDBY_FRONT": front,
                    "STANDBY_ROUTER": router,
                },
                fetches=args.elsewhere,
                volumes={"/config": volume(f"{name}-config", args.host, f"{args.service}-config", self, optional=True)},
                tmpfs={
                    caddyfile.RUN_DIRECTORY: "rw,noexec,nosuid,size=1m,mode=0700",
                    "/data": "rw,noexec,nosuid,size=1m,mode=0700",
                    "/tmp": "rw,noexec,nosuid,size=16m",
                },
                ports=[
                    Port(inside=rendering.PORT, outside=args.port, address=address) for address in args.bind_addresses
                ],
                # As the edge, whose image it has.
                user="0:0",
                capabilities=["CAP_NET_BIND_SERVICE"],
                networks=dict.fromkeys(("application", *args.networks), ()),
                health=HealthCheck(
                    # A request through both, as the edge's; where the front listens for it changes with its level.
                    test=(
                        "CMD-SHELL",
                        "wget -Y off -q -O /dev/null "
                        f'"http://$(cat {_LOOPBACK_FILE}):{caddyfile.LOOPBACK_PORT}/healthy"',
                    ),
                    timeout_seconds=6,
                    start_period_seconds=30,
                ),
                # Longer than its own delay and grace period for requests that are under way.
                stop_grace_seconds=40,
                depends_on=args.depends_on,
            ),
            self,
        )
        delivery = pulumi.Output.all(
            certificate=[args.certificate.certificate_pem, args.certificate.private_key_pem],
            roots=args.clients.roots.pem if args.clients is not None else "",
            trusted=args.upstream_trust.pem,
            allowed=[one.certificate_pem for one in args.allowed or ()],
            revoked=args.clients.revoked if args.clients is not None else "",
            refused=list(args.refused),
        ).apply(lambda known: archive(_files(args, known)))
        self.ready = step(
            f"{name}-release",
            StepArgs(
                service=self.service,
                script=_DELIVER,
                stdin=pulumi.Output.secret(delivery),
                # Not read by the script; what a renewal looks at, as with the edge's.
                environment={"RELEASE": _planned(args)},
            ),
            self,
        )
        self.register_outputs({})


def _for_whom(args: RelayArgs) -> str:
    return args.clients.said_by if args.clients is not None else "nobody"


def _planned(args: RelayArgs) -> str:
    """Return what tells a release apart as far as it is known before any certificate is: 16 hex digits."""
    common: Mapping[str, Any] = {"identity": args.identity, "websocket_hours": args.websocket_hours}
    router = rendering.router(args.upstream, elsewhere=args.elsewhere, server_name=args.upstream_name, **common)
    clients = " ".join([_for_whom(args), *(one.name for one in args.allowed or ())])
    return rendering.release(rendering.front((), **common), router, authority=clients, trusted="")["identifier"]


def _files(args: RelayArgs, known: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the files of a release, and the certificate's.

    Shape of `known`: certificate (its PEM and that of its key), roots, trusted and revoked (PEM), allowed and
    refused (PEM each).
    """
    from pki import admission  # a tenth of a second, for those with a relay

    certificate, key = known["certificate"]
    front = rendering.front(
        rendering.pool(known["roots"]) if args.clients is not None else (),
        identity=args.identity,
        websocket_hours=args.websocket_hours,
    )
    router = rendering.router(
        args.upstream,
        identity=args.identity,
        websocket_hours=args.websocket_hours,
        elsewhere=args.elsewhere,
        server_name=args.upstream_name,
        trusted=bool(known["trusted"].strip()),
        allowed=None
        if args.allowed is None
        else [
            rendering.Allowed(fingerprint=admission.fingerprint(pem), public_key=admission.public_key(pem))
            for pem in known["allowed"]
        ],
        revoked=[*admission.revoked_serials(known["revoked"]), *map(admission.fingerprint, known["refused"])],
    )
    release = rendering.release(front, router, authority=_for_whom(args), trusted=known["trusted"])
    return {**release, rendering.CERTIFICATE_FILE: caddyfile.certificate(certificate, key)}
