"""Hatchet, the workflow engine, with a token for its workers."""

from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_tls as tls

from components.base.handles import NOBODY, Database, DockerHost, Image, TrustBundle, WorkflowEngine
from components.base.secret import password
from components.base.service import HealthCheck, ServiceArgs, service
from components.base.step import StepArgs, step
from components.base.trust import go_environment, one_file
from components.base.volume import volume
from rendering import connections, startup

HTTP_PORT: Final = 8888
GRPC_PORT: Final = 7077
TENANT_ID: Final = "707d0855-80ab-4e1f-a156-f1c4546cbf52"
"""Hatchet's seeded default tenant (DEFAULT_TENANT_ID in its source)."""
ADMIN_EMAIL: Final = "admin@hatchet.internal"
"""The seeded administrator, in place of upstream's well-known one; nobody is it, as the dashboard is not published."""
TOKEN_VALIDITY_HOURS: Final = 365 * 24
TOKEN_RENEWAL_HOURS: Final = 90 * 24
"""Inside this time before the token's end any plain `up` mints a new one."""

# An earlier token is kept while Hatchet itself still accepts it. It does not if its keys, its database or its public
# address changed, so none of that has to be tracked here. Tokens travel through variables and pipes only.
_MINT: Final = f"""\
set -eu
previous=$(printf '%s\\n' "${{PULUMI_COMMAND_STDOUT:-}}" | grep '^eyJ' | tail -n 1 || true)
if [ -n "$previous" ]; then
    status=$(printf 'Authorization: Bearer %s\\n' "$previous" | curl -sS -m 20 -o /dev/null -w '%{{http_code}}' -H @- \\
        "http://127.0.0.1:{HTTP_PORT}/api/v1/tenants/{TENANT_ID}/worker")
    case "$status" in
    200) printf '%s\\n' "$previous"; exit 0 ;;
    401 | 403) echo "Hatchet no longer accepts the token; minting a new one" >&2 ;;
    *) echo "Hatchet, asked about its token, answered with status $status; try again" >&2; exit 1 ;;
    esac
fi
/hatchet-admin token create --config /config --tenant-id {TENANT_ID} --name reflector \\
    --expiresIn {TOKEN_VALIDITY_HOURS}h | grep '^eyJ' | tail -n 1 | grep .
"""


@dataclass(frozen=True, kw_only=True)
class HatchetArgs:
    """A Hatchet server."""

    host: DockerHost
    image: Image
    memory_mib: int
    database: Database
    trust: TrustBundle = NOBODY
    service: str = "hatchet"
    """Its name in the stack, and its volume's."""


class Hatchet(pulumi.ComponentResource):
    """A Hatchet server, closed to sign-ups, with a token minted before any worker exists.

    The token is minted again by a plain `up` when it is near its end, and whenever Hatchet no longer accepts it after
    its container was replaced. Creates: a volume with Hatchet's keys and the seed's password, protected.
    """

    engine: WorkflowEngine
    """The server and the token."""

    def __init__(self, name: str, args: HatchetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:hatchet:Hatchet", name, {}, opts)
        # It has to be told its own address, so that is said before there is a handle for it.
        host_port = f"{args.service}:{GRPC_PORT}"
        server_url = f"http://{args.service}:{HTTP_PORT}"
        server = service(
            f"{name}-container",
            ServiceArgs(
                host=args.host,
                service=args.service,
                image=args.image.id,
                memory_mib=args.memory_mib,
                port=HTTP_PORT,
                command=["sh", "-c", startup.hatchet()],
                environment={
                    "DATABASE_URL": args.database.url(sslmode="disable", connect_timeout="30"),
                    # Of each of its three servers.
                    "DATABASE_MAX_CONNS": str(connections.HATCHET_POOL),
                    "DATABASE_DDL_POOL_MAX_CONNS": str(connections.HATCHET_MAINTENANCE_POOL),
                    "SERVER_URL": server_url,
                    "SERVER_GRPC_BIND_ADDRESS": "0.0.0.0",
                    "SERVER_GRPC_PORT": str(GRPC_PORT),
                    "SERVER_GRPC_INSECURE": "t",
                    "SERVER_GRPC_BROADCAST_ADDRESS": host_port,
                    "SERVER_INTERNAL_CLIENT_INTERNAL_GRPC_BROADCAST_ADDRESS": host_port,
                    "SERVER_AUTH_COOKIE_DOMAIN": args.service,
                    "SERVER_AUTH_COOKIE_INSECURE": "t",
                    "SERVER_AUTH_SET_EMAIL_VERIFIED": "t",
                    "ADMIN_EMAIL": ADMIN_EMAIL,
                    "ADMIN_PASSWORD": password(f"{name}-admin", self),
                    "SERVER_ALLOW_SIGNUP": "false",
                    "SERVER_ALLOW_INVITES": "false",
                    "SERVER_ALLOW_CREATE_TENANT": "false",
                    # On by default: each of its servers tells security.hatchet.run at each start that it is there.
                    "SERVER_SECURITY_CHECK_ENABLED": "false",
                    **go_environment(args.trust),
                },
                files=one_file(args.trust),
                volumes={"/config": volume(f"{name}-config", args.host, args.service, self)},
                networks={"application": (), args.database.network: ()},
                health=HealthCheck(
                    test=(
                        "CMD",
                        "curl",
                        "-fsS",
                        "-m",
                        "5",
                        "-o",
                        "/dev/null",
                        f"http://127.0.0.1:{HTTP_PORT}/api/live",
                    ),
                    timeout_seconds=6,
                    start_period_seconds=180,
                ),
                read_only=False,
                depends_on=[args.database.ready],
            ),
            self,
        )
        lease = _lease(f"{name}-token-lease", self)
        minted = step(
            f"{name}-token",
            StepArgs(
                service=server,
                script=_MINT,
                secret_output=True,
                triggers=[lease],
            ),
            self,
        )
        self.engine = WorkflowEngine(
            server_url=server_url,
            host_port=host_port,
            token=pulumi.Output.secret(minted.stdout),
            ready=minted,
            services=[server],
        )
        self.register_outputs({})


def _lease(name: str, parent: pulumi.Resource) -> pulumi.Output[str]:
    """Return a value that changes on a plain `up` once a token minted with it is near its end.

    The program itself must not look at the clock. The TLS provider does, and plans the replacement of a certificate
    inside its renewal window; this one exists for that alone.
    """
    key = tls.PrivateKey(
        f"{name}-key",
        tls.PrivateKeyArgs(algorithm="ED25519"),
        opts=pulumi.ResourceOptions(parent=parent),
    )
    return tls.SelfSignedCert(
        name,
        tls.SelfSignedCertArgs(
            private_key_pem=key.private_key_pem,
            allowed_uses=["digital_signature"],
            subject=tls.SelfSignedCertSubjectArgs(common_name=name),
            validity_period_hours=TOKEN_VALIDITY_HOURS,
            early_renewal_hours=TOKEN_RENEWAL_HOURS,
        ),
        opts=pulumi.ResourceOptions(parent=parent),
    ).validity_end_time
