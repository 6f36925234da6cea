"""Whom a Docker host itself trusts: its own store of authorities, and its daemon where it pulls images."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pulumi

from components.base.handles import DockerHost
from components.base.step import on_host
from rendering import host_trust as rendering


@dataclass(frozen=True, kw_only=True)
class HostTrustArgs:
    """Whom a Docker host is to trust."""

    host: DockerHost
    authorities: Sequence[tuple[str, pulumi.Input[str]]]
    """What each is called, of small letters, digits and hyphens, and its certificate (PEM)."""
    system_store: bool = False
    """Whether every program there that asks its store trusts them."""
    registries: Sequence[str] = ()
    """Each <host>[:<port>], where its Docker daemon trusts them."""

    def __post_init__(self) -> None:
        if not self.authorities:
            raise ValueError("authorities: there is none to be trusted")
        for name, _ in self.authorities:
            if "_" in name or not name:
                raise ValueError(f"authorities: {name!r} is no name, by which another stack's file is told from ours")


class HostTrust(pulumi.ComponentResource):
    """Authorities in the trust of a host, for as long as the stack is there; files that are not ours stay as they are.

    Does not: restart Docker, which reads what its registries are trusted by at each pull, and its store once.
    """

    ready: Sequence[pulumi.Resource]
    """Made once the host trusts them."""
    pulls: pulumi.Output[str] | None
    """Known once its daemon trusts the registries; None where there is none."""

    def __init__(self, name: str, args: HostTrustArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:hosttrust:HostTrust", name, {}, opts)
        names = [own for own, _ in args.authorities]
        certificates = pulumi.Output.all(*(pem for _, pem in args.authorities))
        stack, daemon = args.host.prefix, args.host.daemon
        files = certificates.apply(partial(rendering.files, stack, names))
        text = certificates.apply(rendering.joined)
        made = []
        if args.system_store:
            made.append(
                on_host(
                    f"{name}-store",
                    daemon,
                    rendering.call("store", rendering.WRITES_ALL, stack),
                    stdin=text,
                    given={"AUTHORITIES": files},
                    parent=self,
                )
            )
        self.pulls = None
        if args.registries:
            registries = on_host(
                f"{name}-registries",
                daemon,
                rendering.call("registries", rendering.WRITES_DOCKER, stack),
                stdin=text,
                given={"AUTHORITIES": files, "REGISTRIES": "".join(f"{one}\n" for one in args.registries)},
                parent=self,
            )
            self.pulls = registries.stdout
            made.append(registries)
        self.ready = made
        self.register_outputs({})
