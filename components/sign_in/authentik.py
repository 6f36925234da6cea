"""Sign-in by an Authentik on this Docker host, with Reflector as an application of it."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pulumi
import pulumi_tls as tls

from components.base.handles import (
    Database,
    DockerHost,
    EdgeCertificate,
    Environment,
    IdentityProvider,
    Image,
    Route,
    Service,
    Site,
)
from components.base.secret import password, token
from components.base.service import HealthCheck, ServiceArgs, service
from components.base.step import StepArgs, step
from components.base.volume import volume
from rendering import authentik as rendering
from rendering import environment
from rendering.password import django_hash

UID: Final = 1000
"""authentik in the official image."""
KEY_BITS: Final = 3072
KEY_VALIDITY_HOURS: Final = 10 * 365 * 24
"""Nobody looks at the end of the certificate its key is wrapped in; the key is changed on purpose."""
CLOSED_PATHS: Final = ("/api/v3/managed/blueprints*", "/api/v3/policies/expression*", "/api/v3/propertymappings*")
"""What its makers advise to close: whoever may write there runs code (docs.goauthentik.io, security hardening)."""

_FOLDER: Final = Path(__file__).parent
_HEALTH: Final = HealthCheck(
    test=("CMD", "ak", "healthcheck"),
    interval_factor=2,
    timeout_seconds=30,
    # The first start migrates, which takes minutes on a small machine.
    start_period_seconds=600,
)


@dataclass(frozen=True, kw_only=True)
class AuthentikArgs:
    """An Authentik."""

    host: DockerHost
    image: Image
    server_memory_mib: int
    worker_memory_mib: int
    database: Database
    domain: str
    """Name or address the edge serves it under."""
    url: str
    """The same as a URL, without a trailing slash."""
    certificate: EdgeCertificate
    """Shown there."""
    application: rendering.Application
    """Reflector, and who there is."""
    own_port: int | None = None
    """See `Site`."""
    closed_paths: tuple[str, ...] = CLOSED_PATHS
    """What the edge refuses of it."""
    signing_key_generation: int = 1
    client_secret_generation: int = 1
    service: str = "authentik"
    """Its server's name in the stack, and what its volume's and its worker's begin with."""
    network: str = "identity"
    """Role of the network it and the edge are on, and nobody else: it believes whoever is."""


class Authentik(pulumi.ComponentResource):
    """Authentik's server and worker, and Reflector as an application of it.

    What it knows of Reflector is a blueprint; it is applied and proven before anybody is led there. Creates: a volume
    that outlasts it, secrets, and the key tokens are signed with. Does not: publish a port; the edge serves it under
    `domain`.
    """

    provider: IdentityProvider
    """What Reflector's processes are told, ready once tokens are as they have to be."""

    def __init__(self, name: str, args: AuthentikArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:authentik:Authentik", name, {}, opts)
        application = args.application
        administrator = application.administrator
        administrator_password = password(f"{name}-akadmin", self, optional=True)
        hashed: pulumi.Output[str] = pulumi.Output.all(
            password=administrator_password, salt=token(f"{name}-akadmin-salt", self, size_bytes=16, optional=True)
        ).apply(_hashed)
        told: Environment = rendering.environment(
            url=args.url,
            administrator_email=administrator.email,
            trusted_proxies=args.host.subnets(args.network).apply(lambda subnets: ",".join(subnets)),
            secret_key=token(f"{name}-secret-key", self, optional=True),
            administrator_hash=hashed,
            database={
                "HOST": args.database.host,
                "PORT": str(args.database.port),
                "NAME": args.database.name,
                "USER": args.database.user,
                "PASSWORD": args.database.password,
            },
        )
        data = volume(f"{name}-data", args.host, args.service, self, optional=True)

        def run(part: str, service_name: str, memory_mib: int) -> Service:
            return service(
                f"{name}-{part}",
                ServiceArgs(
                    host=args.host,
                    service=service_name,
                    image=args.image.id,
                    memory_mib=memory_mib,
                    port=rendering.PORT if part == "server" else None,
                    command=[*args.image.command, part],
                    environment=told,
                    volumes={"/data": data},
                    # Sockets and temporary files; two that share one take each other's for their own.
                    tmpfs={
                        "/dev/shm": f"rw,nosuid,nodev,noexec,size=512m,uid={UID},gid={UID},mode=0700",
                        **(_workplace() if part == "worker" else {}),
                    },
                    user=f"{UID}:{UID}",
                    networks={args.network: (f"{service_name}.{args.network}",), args.database.network: ()},
                    health=_HEALTH,
                    stop_grace_seconds=30,
                    depends_on=[args.database.ready],
                ),
                self,
            )

        server = run("server", args.service, args.server_memory_mib)
        worker = run("worker", f"{args.service}-worker", args.worker_memory_mib)

        key, certificate = self._key_pair(name, args.signing_key_generation)
        client_secret = token(f"{name}-client-secret-{args.client_secret_generation}", self, optional=True)
        passwords = {
            person.password: password(f"{name}-initial-{person.user_name}", self, optional=True)
            for person in application.people
        }
        secrets = {
            rendering.ADMINISTRATOR_PASSWORD: administrator_password,
            "client-secret": client_secret,
            "signing-key": key.private_key_pem,
            "signing-certificate": certificate.cert_pem,
            **passwords,
        }
        ready = step(
            f"{name}-application",
            StepArgs(
                service=worker,
                script=(_FOLDER / "authentik_setup.py").read_text(encoding="utf-8"),
                inside=False,
                stdin=pulumi.Output.secret(pulumi.Output.all(**secrets).apply(partial(_desired_state, args))),
                # Another server is another one to prove it of.
                environment={"SERVER_ID": server.container.id},
                depends_on=[server.ready],
            ),
            self,
        )
        self.provider = IdentityProvider(
            backend=environment.jwt_backend(rendering.CLIENT_ID),
            # By it the administrator's account is found again when the address is another one.
            server={"ADMIN_EMAIL": administrator.email},
            web=environment.provider_web(
                issuer=rendering.issuer(args.url, application.slug),
                token_url=rendering.token_url(args.url),
                client_id=rendering.CLIENT_ID,
                client_secret=client_secret,
            ),
            public_key_pem=key.public_key_pem,
            admin_email=administrator.email,
            admin_password=passwords[administrator.password],
            described={
                "issuer": rendering.issuer(args.url, application.slug),
                "url": args.url,
                "administrator": rendering.ADMINISTRATOR,
                "administrator_password": administrator_password,
                "initial_passwords": {person.user_name: passwords[person.password] for person in application.people},
            },
            ready=[ready],
            sites=[
                Site(
                    names=[args.domain],
                    certificate=args.certificate,
                    routes=[Route(upstream=server.url(rendering.PORT))],
                    closed=args.closed_paths,
                    network=args.network,
                    own_port=args.own_port,
                    ready=[ready],
                )
            ],
            services=[server, worker],
        )
        self.register_outputs({})

    def _key_pair(self, name: str, generation: int) -> tuple[tls.PrivateKey, tls.SelfSignedCert]:
        """Return the key tokens are signed with, and a certificate of it: Authentik takes no key without one."""
        opts = pulumi.ResourceOptions(parent=self)
        key = tls.PrivateKey(
            f"{name}-signing-key-{generation}",
            # What Reflector verifies is RS256 and nothing else.
            tls.PrivateKeyArgs(algorithm="RSA", rsa_bits=KEY_BITS),
            opts=opts,
        )
        certificate = tls.SelfSignedCert(
            f"{name}-signing-certificate-{generation}",
            tls.SelfSignedCertArgs(
                private_key_pem=key.private_key_pem,
                allowed_uses=["digital_signature"],
                subject=tls.SelfSignedCertSubjectArgs(common_name="Reflector sign-in"),
                validity_period_hours=KEY_VALIDITY_HOURS,
            ),
            opts=opts,
        )
        return key, certificate


def _workplace() -> Mapping[str, str]:
    """Return what of the worker's memory a blueprint and its secrets are put into while it is applied."""
    options = f"rw,nosuid,nodev,noexec,size=4m,uid={UID},gid={UID},mode=0700"
    return {rendering.BLUEPRINTS_DIRECTORY: options, rendering.SECRETS_DIRECTORY: options}


async def _hashed(secrets: dict[str, Any]) -> str:
    """Return the hash of a password, made beside the program: it takes a tenth of a second on purpose."""
    return await asyncio.to_thread(django_hash, **secrets)


def _desired_state(args: AuthentikArgs, secrets: Mapping[str, str]) -> str:
    """Return the input of the set-up script."""
    application = args.application
    body = secrets["signing-certificate"].partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0]
    return json.dumps(
        {
            "blueprint": rendering.blueprint(application, rendering.secrets_digest(secrets)),
            "administrators_blueprint": rendering.administrators_blueprint(application.administrator),
            "packaged": rendering.PACKAGED,
            "file": rendering.BLUEPRINT_FILE,
            "secrets_directory": rendering.SECRETS_DIRECTORY,
            "secrets": dict(secrets),
            "administrator": rendering.ADMINISTRATOR_PASSWORD,
            "record": rendering.RECORD_FILE,
            "now": {
                "slugs": [application.slug],
                "users": [person.user_name for person in application.people],
                "groups": list(application.groups),
                "allowed": [person.user_name for person in application.people if application.may_enter(person)],
            },
            "proof_program": (_FOLDER / "authentik_proof.py").read_text(encoding="utf-8"),
            "proof": {
                # Its name on that network alone: on another it would believe nothing of what the edge says.
                "address": f"{args.service}.{args.network}:{rendering.PORT}",
                "url": args.url,
                "issuer": rendering.issuer(args.url, application.slug),
                "token_url": rendering.token_url(args.url),
                "redirect_uri": application.redirect_uri,
                "client_id": rendering.CLIENT_ID,
                "client_secret": secrets["client-secret"],
                "certificate": "".join(body.split()),
                "administrator_password": secrets[rendering.ADMINISTRATOR_PASSWORD],
            },
        }
    )
