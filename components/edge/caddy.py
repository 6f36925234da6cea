"""Caddy, the edge: the only service with published ports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import pulumi

from components.base.handles import CertificateHandle, DockerHost, OrderedCertificate, Service, Site
from components.base.service import HealthCheck, Port, Protocol, ServiceArgs, service
from components.base.step import StepArgs, step
from components.base.volume import volume
from components.edge import trust_page
from rendering import caddyfile, taking_over
from rendering.archive import archive
from rendering.trust_page import Place

_TRUSTED: Final = "TRUSTED_AUTHORITY_"
"""What the variables begin with that hold whom the edge trusts where it orders: one could not hold many."""
_TRUSTED_DIRECTORY: Final = f"{caddyfile.RUN_DIRECTORY}/authorities"
_FORMER_AUTHORITY: Final = '"${XDG_DATA_HOME:-/data}/caddy/pki"'

# The root file system is read-only, so what the container brings along comes as variables. exec: signals reach the
# front, which ends when its requests have; the router lasts as long as the container, and is started again should it
# ever end.
#
# What is live was written for the Caddy of then. Another one may not know a word of it, and a power cut may have left
# half of it: it is set aside, and a router that answers 503 is healthy all the same, since what would mend it is
# delivered into the running container. `Caddyfile` is what an earlier release of this program kept there, and the
# authority one that Caddy made for itself under such a release: nobody trusts it.
_RUN: Final = f"""\
set -eu
number=0
while eval 'pem=${{{_TRUSTED}'"$number"':-}}' && [ -n "$pem" ]; do
    mkdir -p {_TRUSTED_DIRECTORY}
    printf '%s' "$pem" > {_TRUSTED_DIRECTORY}/$number.pem
    number=$((number + 1))
done
mkdir -p {caddyfile.CONFIG_DIRECTORY}
cd {caddyfile.CONFIG_DIRECTORY}
rm -rf standby Caddyfile {_FORMER_AUTHORITY} && mkdir standby
printf '%s' "$FRONT_CADDYFILE" > {caddyfile.FRONT_FILE}
printf '%s' "$ROUTER_CADDYFILE" > {caddyfile.ROUTER_FILE}
printf '%s' "$STANDBY_SITES" > standby/{caddyfile.SITES_FILE}
printf '%s' "$STANDBY_NAMES" > standby/{caddyfile.NAMES_FILE}
route() {{
    rm -rf {caddyfile.SOCKETS_DIRECTORY} && mkdir {caddyfile.SOCKETS_DIRECTORY}
    CADDY_SOCKETS=$(mktemp -d {caddyfile.SOCKETS_DIRECTORY}/XXXXXX)
    export CADDY_SOCKETS
    fault=
    if [ ! -s live/{caddyfile.SITES_FILE} ] || [ ! -s live/{caddyfile.NAMES_FILE} ]; then
        fault='it is missing or not complete'
    elif ! said=$(caddy validate --config {caddyfile.ROUTER_FILE} --adapter caddyfile 2>&1); then
        fault=$said
    fi
    if [ -n "$fault" ]; then
        echo "Answering 503 until the configuration is delivered: what is live cannot be served: $fault" >&2
        rm -rf live
        # Nobody misses an answer of it.
        export CADDY_RELEASE="$PWD/standby" CADDY_DRAIN=0s
    fi
    ln -sfn "$CADDY_SOCKETS" {caddyfile.SERVING}
    exec caddy run --config {caddyfile.ROUTER_FILE} --adapter caddyfile
}}
while :; do
    route &
    wait $! || echo "The router has ended ($?), and is started again" >&2
    sleep 1
done &
exec caddy run --config {caddyfile.FRONT_FILE} --adapter caddyfile
"""


# Each certificate is replaced in one move and read at the next handshake, each file of the page about trust likewise. A
# release that is not the one that is live, to the letter, is taken over by a reload, and made live only then: whatever
# happens, a restart finds a configuration that works. What nobody needs any more goes last, with the one file in which
# an earlier release kept its certificate.
def _deliver(own_ports: Sequence[int]) -> str:
    """Return the script that delivers; there is a socket for each of `own_ports` as well."""
    sockets = (*caddyfile.SOCKETS, *map(caddyfile.own_socket, own_ports))
    return f"""\
set -eu
umask 077
cd {caddyfile.CONFIG_DIRECTORY}
rm -rf incoming && mkdir -p incoming releases {caddyfile.CERTIFICATES_DIRECTORY}
base64 -d | tar -x -f - -C incoming
kept=$(cat incoming/kept)
for file in $kept; do
    mv "incoming/$file" "{caddyfile.CERTIFICATES_DIRECTORY}/$file"
done
mkdir -p incoming/{caddyfile.TRUST_PAGE_DIRECTORY} {caddyfile.TRUST_PAGE_DIRECTORY}
for file in {caddyfile.TRUST_PAGE_DIRECTORY}/*; do
    [ -e "incoming/$file" ] || rm -f "$file"
done
for file in incoming/{caddyfile.TRUST_PAGE_DIRECTORY}/*; do
    [ ! -e "$file" ] || mv "$file" {caddyfile.TRUST_PAGE_DIRECTORY}
done
rmdir incoming/{caddyfile.TRUST_PAGE_DIRECTORY}
release=releases/$(cat incoming/identifier)
is_live() {{
    [ "$(readlink live || true)" = "$release" ] &&
        cmp -s incoming/{caddyfile.SITES_FILE} live/{caddyfile.SITES_FILE} &&
        cmp -s incoming/{caddyfile.NAMES_FILE} live/{caddyfile.NAMES_FILE}
}}
reload() {{
    CADDY_RELEASE="$PWD/$release" caddy reload --config {caddyfile.ROUTER_FILE} --adapter caddyfile \
        --address unix/{caddyfile.ADMIN_SOCKET}
}}
{taking_over.functions(sockets)}
if ! is_live; then
    rm -rf "$release" && mv incoming "$release"
    take_over reload
    ln -sfn "$release" live.new && mv -T live.new live
fi
for old in incoming edge.pem releases/* {caddyfile.CERTIFICATES_DIRECTORY}/*; do
    case " $release $kept " in
    *" $old "* | *" ${{old##*/}} "*) ;;
    *) rm -rf "$old" ;;
    esac
done
"""


_ORDER_SECONDS: Final = 180
"""Twice what Let's Encrypt takes on a slow day; what it refuses is known after seconds."""

# Caddy orders on its own time, and goes on trying for days.
_AWAIT_ORDERS: Final = f"""\
set -eu
seconds=0
while :; do
    missing=
    for one in $EXPECTED; do
        name=${{one##*/}}
        [ -s "/data/caddy/certificates/$one/$name.crt" ] || missing="$missing $name"
    done
    [ -n "$missing" ] || break
    if [ "$seconds" -ge {_ORDER_SECONDS} ]; then
        echo "There is no certificate yet for:$missing. Caddy goes on asking, and the next run looks again." >&2
        echo "What it was told last:" >&2
        grep '"error"' {caddyfile.ORDERS_LOG} | tail -n 3 >&2 || echo "nothing" >&2
        exit 1
    fi
    [ "$((seconds % 15))" -ne 0 ] || echo "Waiting for certificates of:$missing"
    sleep 1
    seconds=$((seconds + 1))
done
"""


@dataclass(frozen=True, kw_only=True)
class CaddyArgs:
    """The edge."""

    host: DockerHost
    image: pulumi.Input[str]
    memory_mib: int
    sites: Sequence[Site]
    """What it serves; a client that names nothing is shown the first one's certificate. A port that is a site's own is
    published as it is."""
    bind_addresses: Sequence[str]
    public_port: int
    """The port in the URLs people see; it listens there, so that one URL is right inside the stack and outside."""
    https_port: int
    """The port the host publishes for it."""
    http_port: int
    trusted_proxies: Sequence[str] = ()
    """Addresses and networks of proxies in front."""
    proxy_protocol: bool = False
    """Whether they say a client's address before all else."""
    private_roots_pem: pulumi.Input[str] | None = None
    """What clients have to trust and do not by themselves: the first site has a page about it. None: no such page."""
    service: str = "caddy"
    """Its name in the stack, and what its volumes' begin with."""

    def __post_init__(self) -> None:
        if not self.sites:
            raise ValueError("sites must hold one site or more")
        ports = [self.public_port, self.http_port, *(one.own_port for one in self.sites if one.own_port is not None)]
        if len(set(ports)) < len(ports):
            raise ValueError(f"two things listen on one of the ports {', '.join(map(str, ports))}")
        handles = [site.certificate for site in self.sites if isinstance(site.certificate, CertificateHandle)]
        if len({id(one) for one in _orders(self.sites)}) > 1:
            raise ValueError("sites have certificates of two orders, and the edge makes one")
        for name in dict.fromkeys(handle.name for handle in handles):
            # Each is delivered as the file of its name.
            if len({id(handle) for handle in handles if handle.name == name}) > 1:
                raise ValueError(f"sites have two certificates called {name}")


class Caddy(pulumi.ComponentResource):
    """The edge: TLS, redirects, and the routes of every site.

    Certificates and routes are delivered into its volume. A renewed certificate is served from the next handshake on,
    without so much as a reload; changed routes are taken over by a reload of what is behind the front. Neither replaces
    the container or loses a request.
    """

    service: Service
    """The server."""
    ready: pulumi.Resource
    """The edge serves."""
    trust_page_url: str | None
    """Where people are told what to trust; None where there is nothing to tell."""

    def __init__(self, name: str, args: CaddyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:caddy:Caddy", name, {}, opts)
        place = _place(args)
        self.trust_page_url = place.page if place else None
        # The public names resolve to the edge inside too, so one URL is right on both sides. An address leads to the
        # Docker host, and by the published port back to the edge.
        networks: dict[str, list[str]] = {"application": []}
        for site in args.sites:
            networks.setdefault(site.network, [])
            if not caddyfile.is_address(site.names[0]):
                networks["application"].append(site.names[0])
        own_ports = [site.own_port for site in args.sites if site.own_port is not None]
        certificates = {
            _file(site.certificate): site.certificate
            for site in args.sites
            if isinstance(site.certificate, CertificateHandle)
        }
        order = next(iter(_orders(args.sites)), None)
        ordered = list(dict.fromkeys(name for site in args.sites if site.certificate is order for name in site.names))
        standby = caddyfile.standby(next(iter(certificates), None), own_ports)
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
                    "FRONT_CADDYFILE": caddyfile.front(
                        args.sites[0].names[0],
                        https_port=args.public_port,
                        http_port=args.http_port,
                        own_ports=own_ports,
                        trusted_proxies=args.trusted_proxies,
                        proxy_protocol=args.proxy_protocol,
                        ordering=_ordering(order, ordered) if order is not None else None,
                    ),
                    "ROUTER_CADDYFILE": caddyfile.router(),
                    "STANDBY_SITES": standby.sites,
                    "STANDBY_NAMES": standby.names,
                    **(_asking(order) if order is not None else {}),
                },
                fetches=order is not None,
                volumes={
                    "/config": volume(f"{name}-config", args.host, f"{args.service}-config", self),
                    "/data": volume(f"{name}-data", args.host, f"{args.service}-data", self),
                },
                tmpfs={
                    caddyfile.RUN_DIRECTORY: "rw,noexec,nosuid,size=1m,mode=0700",
                    "/tmp": "rw,noexec,nosuid,size=64m",
                },
                ports=[
                    Port(inside=inside, outside=outside, address=address, protocol=protocol)
                    for address in args.bind_addresses
                    for inside, outside, protocol in (
                        (args.public_port, args.https_port, Protocol.TCP),
                        (args.public_port, args.https_port, Protocol.UDP),
                        (args.http_port, args.http_port, Protocol.TCP),
                        *((port, port, protocol) for port in own_ports for protocol in Protocol),
                    )
                ],
                # As in the official image: root owns the volumes there, and keeps no capability but this one.
                user="0:0",
                capabilities=["CAP_NET_BIND_SERVICE"],
                networks=networks,
                health=HealthCheck(
                    # No -T: Debian's busybox crashes on it, and Docker has a time-out of its own. It knows of proxies,
                    # which the edge is told of where it orders certificates, but not of NO_PROXY.
                    test=(
                        "CMD",
                        "wget",
                        "-Y",
                        "off",
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
        release = caddyfile.release(
            [
                caddyfile.SiteText(
                    names=site.names,
                    certificate_file=_file(site.certificate)
                    if isinstance(site.certificate, CertificateHandle)
                    else None,
                    routes=[
                        caddyfile.RouteText(paths=route.paths, upstream=route.upstream, canonical=route.canonical)
                        for route in site.routes
                    ],
                    closed=site.closed,
                    policy=site.policy,
                    trust_page=args.private_roots_pem is not None and site is args.sites[0],
                    own_port=site.own_port,
                )
                for site in args.sites
            ],
            https_port=args.public_port,
        )
        pems = pulumi.Output.from_input(
            {file: [handle.certificate_pem, handle.private_key_pem] for file, handle in certificates.items()}
        )
        pages = pulumi.Output.from_input(args.private_roots_pem or "").apply(partial(trust_page.files, place))
        delivery = pulumi.Output.all(pems, pages).apply(lambda known: _delivery(release, *known))
        self.ready = step(
            f"{name}-release",
            StepArgs(
                service=self.service,
                script=_deliver(own_ports),
                stdin=pulumi.Output.secret(delivery),
                # Not read by the script. What is delivered is secret, and unknown while a certificate is replaced; this
                # tells a renewal whether anything else in it would change (operations/renewal.py).
                environment={"RELEASE": release.identifier},
            ),
            self,
        )
        if order is not None:
            folder = _issuer_key(order.directory)
            self.ready = step(
                f"{name}-orders",
                StepArgs(
                    service=self.service,
                    script=_AWAIT_ORDERS,
                    environment={"EXPECTED": " ".join(f"{folder}/{one}" for one in ordered)},
                    depends_on=[self.ready],
                    show_progress=True,
                ),
                self,
            )
        self.register_outputs({})


def _file(certificate: CertificateHandle) -> str:
    return f"{certificate.name}.pem"


def _orders(sites: Sequence[Site]) -> list[OrderedCertificate]:
    """Return what is ordered, each once."""
    found = {id(site.certificate): site.certificate for site in sites}
    return [one for one in found.values() if isinstance(one, OrderedCertificate)]


def _ordering(order: OrderedCertificate, names: Sequence[str]) -> caddyfile.Ordering:
    return caddyfile.Ordering(
        names=names, directory=order.directory, email=order.email, account_key_id=order.account_key_id
    )


def _asking(order: OrderedCertificate) -> Mapping[str, pulumi.Input[str]]:
    """Return the variables by which it is asked: whom to trust there, each by a number, and the key of an account."""
    trusted = {f"{_TRUSTED}{number}": one for number, one in enumerate(order.trusted)}
    key = {caddyfile.ACCOUNT_KEY: order.account_key} if order.account_key is not None else {}
    return {**trusted, **key, **({"SSL_CERT_DIR": _TRUSTED_DIRECTORY} if trusted else {})}


def _issuer_key(directory: str) -> str:
    """Return the folder in which Caddy keeps the certificates of an ACME directory (certmagic, ACMEIssuer)."""
    host, _, path = directory.partition("://")[2].partition("/")
    return "-".join(part for part in (host, path.strip("/").replace("/", "-")) if part).replace(":", "-").lower()


def _place(args: CaddyArgs) -> Place | None:
    """Return where the page about trust is, if there is one."""
    if args.private_roots_pem is None:
        return None
    first, *others = args.sites
    return trust_page.place(
        first.names[0],
        https_port=args.public_port,
        http_port=args.http_port,
        other_names=[
            site.names[0] if site.own_port is None else f"{caddyfile.bracketed(site.names[0])}:{site.own_port}"
            for site in others
        ],
    )


def _delivery(
    release: caddyfile.Release, pems: Mapping[str, Sequence[str]], pages: Mapping[str, bytes] | None = None
) -> str:
    """Return the archive with a release, the certificates and the page about trust.

    Of each certificate the leaf with its chain, then the key.
    """
    return archive(
        {
            "identifier": release.identifier,
            "kept": " ".join(sorted(pems)),
            caddyfile.SITES_FILE: release.sites,
            caddyfile.NAMES_FILE: release.names,
            **{file: caddyfile.certificate(*pem) for file, pem in pems.items()},
            **{f"{caddyfile.TRUST_PAGE_DIRECTORY}/{name}": content for name, content in (pages or {}).items()},
        }
    )
