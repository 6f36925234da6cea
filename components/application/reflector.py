"""Reflector itself: the server, its workers, and the web frontend."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi

from components.base.handles import (
    Cache,
    Database,
    DockerHost,
    EdgeCertificate,
    Environment,
    IdentityProvider,
    Image,
    LanguageModel,
    ObjectStore,
    Route,
    Service,
    Site,
    SpeechServices,
    TrustBundle,
    WorkflowEngine,
)
from components.base.secret import token
from components.base.service import File, HealthCheck, ServiceArgs, service
from components.base.step import StepArgs, step
from components.base.trust import merged_environment, merged_files, node_environment, one_file
from components.base.volume import volume
from rendering import connections, environment, startup
from rendering.caddyfile import PAGES

WEB_UID: Final = 1001
"""nextjs in upstream's frontend image."""

_SERVER_HEALTH: Final = HealthCheck(
    test=("CMD", "curl", "-fsS", "-m", "5", "-o", "/dev/null", f"http://127.0.0.1:{environment.SERVER_PORT}/health"),
    timeout_seconds=6,
    # It migrates the database before it listens.
    start_period_seconds=300,
)
_WORKER_HEALTH: Final = HealthCheck(
    # Through the broker and back; -A would import all of Reflector for each check.
    test=("CMD-SHELL", '/app/.venv/bin/celery -b "$CELERY_BROKER_URL" inspect ping -d "celery@$HOSTNAME" -t 10'),
    interval_factor=3,
    timeout_seconds=30,
    retries=3,
    start_period_seconds=180,
)
_BEAT_HEALTH: Final = HealthCheck(
    # Celery's scheduler writes its schedule at start and every five minutes; three times that is silence.
    test=("CMD-SHELL", "find /app -maxdepth 1 -name 'celerybeat-schedule*' -mmin -15 | grep -q ."),
    start_period_seconds=180,
)
_HATCHET_WORKER_HEALTH: Final = HealthCheck(
    # The SDK's own: healthy only while it is connected to Hatchet.
    test=(
        "CMD", "curl", "-fsS", "-m", "5", "-o", "/dev/null", f"http://127.0.0.1:{environment.WORKER_HEALTH_PORT}/health",
    ),
    timeout_seconds=6,
    start_period_seconds=180,
)  # fmt: skip
_WEB_HEALTH: Final = HealthCheck(
    # busybox's wget is all the image has; Debian's crashes on -T, and Docker has a time-out of its own. It knows of
    # proxies, but not of NO_PROXY.
    test=("CMD", "wget", "-Y", "off", "-q", "-O", "/dev/null", f"http://127.0.0.1:{environment.WEB_PORT}/api/health"),
    timeout_seconds=6,
    start_period_seconds=60,
)


@dataclass(frozen=True, kw_only=True)
class MemoryMib:
    """Memory limits in MiB."""

    server: int
    worker: int
    beat: int
    hatchet_worker_llm: int
    web: int


@dataclass(frozen=True, kw_only=True)
class ReflectorArgs:
    """Reflector."""

    host: DockerHost
    backend: Image
    frontend: Image
    memory_mib: MemoryMib
    worker_processes: int
    """Tasks that Celery's worker does at a time, each in a process of its own."""
    url: str
    """Public base URL, without a trailing slash."""
    origins: Sequence[str]
    """Web origins of its pages."""
    names: Sequence[str]
    """DNS names and addresses it is served at, the canonical one first."""
    certificate: EdgeCertificate
    trust: TrustBundle
    database: Database
    cache: Cache
    identity: IdentityProvider
    object_store: ObjectStore
    speech: SpeechServices
    language_model: LanguageModel
    workflow: WorkflowEngine
    service_prefix: str = ""
    """Before the names of its services and volumes; a second Reflector on a host needs one."""


@dataclass(frozen=True, kw_only=True)
class _Role:
    """A backend role, each a container of the same image."""

    name: str
    health: HealthCheck
    connections: int
    """To the database, in each pool it makes."""
    stop_grace_seconds: int
    keeps_files: bool = True
    """Whether it works on the uploads and derived files the roles share."""
    runs_models: bool = True
    """Whether it runs speech models when they are in-process."""

    def memory_mib(self, limits: MemoryMib) -> int:
        """Return its limit."""
        return int(getattr(limits, self.name.replace("-", "_")))


_SERVER: Final = _Role(name="server", health=_SERVER_HEALTH, connections=connections.SERVER_POOL, stop_grace_seconds=30)
_WORKERS: Final = (
    # Two minutes to finish what they are at. Hatchet gives what is left to the next worker; Celery forgets it.
    _Role(name="worker", health=_WORKER_HEALTH, connections=connections.WORKER_POOL, stop_grace_seconds=120),
    _Role(
        name="hatchet-worker-llm",
        health=_HATCHET_WORKER_HEALTH,
        connections=connections.HATCHET_WORKER_POOL,
        stop_grace_seconds=120,
    ),
    # It hands out tasks, and asks the database nothing.
    _Role(name="beat", health=_BEAT_HEALTH, connections=1, stop_grace_seconds=30, keeps_files=False, runs_models=False),
)


class Reflector(pulumi.ComponentResource):
    """Reflector's server, workers and web frontend.

    The server migrates the database before it is healthy, and everything else waits for that. Creates: secrets and a
    volume, protected. Does not: publish a port.
    """

    api_url: str
    """Base URL of its API, as people see it."""
    site: Site
    """What the edge serves of it, ready once all of the application works."""
    services: Sequence[Service]
    """What runs of it."""

    def __init__(self, name: str, args: ReflectorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:reflector:Reflector", name, {}, opts)
        backend = _backend_environment(args, token(f"{name}-secret-key", self))
        prefix = args.service_prefix
        volumes = {"/app/data": volume(f"{name}-data", args.host, f"{prefix}reflector", self)}
        models = {}
        if not args.speech.url:
            # Upstream keeps none, and fetches the models again with every new container.
            models = {
                "/root/.cache": volume(f"{name}-models", args.host, f"{prefix}reflector-models", self, optional=True)
            }

        keys = [
            File(path=environment.JWT_KEY_FILE, content=pem)
            for pem in (args.identity.public_key_pem,)
            if pem is not None
        ]
        rename = (File(path=startup.RENAME_ADMINISTRATOR_FILE, content=startup.rename_administrator(), mode="0444"),)

        def role_environment(role: _Role) -> Environment:
            # Read by its database library alone, whose default is to open ten at once and keep them.
            pool = {"min_size": "1", "max_size": str(role.connections)}
            return {
                "ENTRYPOINT": role.name,
                "DATABASE_URL": args.database.url("postgresql+asyncpg", **pool),
                **({"WORKER_PROCESSES": str(args.worker_processes)} if role.name == "worker" else {}),
            }

        def run(role: _Role, extra: Environment, after: Sequence[pulumi.Resource]) -> Service:
            return service(
                f"{name}-{role.name}",
                ServiceArgs(
                    host=args.host,
                    service=f"{prefix}{role.name}",
                    image=args.backend.id,
                    memory_mib=role.memory_mib(args.memory_mib),
                    port=environment.SERVER_PORT if role is _SERVER else None,
                    environment=environment.merged(backend, role_environment(role), extra),
                    fetches=True,
                    files=[
                        *merged_files(args.trust),
                        File(path=startup.RUNSERVER_FILE, content=startup.runserver(), mode="0555"),
                        *keys,
                        *(rename if role is _SERVER else ()),
                    ],
                    volumes={**(volumes if role.keeps_files else {}), **(models if role.runs_models else {})},
                    networks={"application": (), args.cache.network: (), args.database.network: ()},
                    health=role.health,
                    # The entrypoint merges the trust bundle into the system store, and beat writes beside its code.
                    read_only=False,
                    stop_grace_seconds=role.stop_grace_seconds,
                    depends_on=after,
                ),
                self,
            )

        server = run(
            _SERVER,
            # Of all roles only this one is asked through the edge.
            environment.merged(
                args.identity.server,
                environment.behind_edge(args.host.subnets("application").apply(lambda subnets: ",".join(subnets))),
            ),
            [
                args.database.ready,
                args.cache.ready,
                *args.identity.ready,
                *args.object_store.ready,
                *args.speech.ready,
                *args.language_model.ready,
                args.workflow.ready,
            ],
        )
        workers = [run(role, {}, [server.ready]) for role in _WORKERS]
        web = service(
            f"{name}-web",
            ServiceArgs(
                host=args.host,
                service=f"{prefix}web",
                image=args.frontend.id,
                memory_mib=args.memory_mib.web,
                port=environment.WEB_PORT,
                command=["sh", startup.WEB_FILE, *(args.frontend.command or startup.WEB_COMMAND)],
                environment=environment.merged(
                    environment.web(
                        url=args.url,
                        server_url=server.url(environment.SERVER_PORT),
                        kv_url=args.cache.url(),
                        nextauth_secret=_session_secret(token(f"{name}-nextauth-secret", self), args.identity),
                    ),
                    args.identity.web,
                    node_environment(args.trust),
                ),
                fetches=True,
                files=[
                    *one_file(args.trust),
                    File(path=startup.WEB_FILE, content=startup.web(), mode="0555"),
                    File(path=startup.WEB_LOG_FILTER_FILE, content=startup.web_log_filter()),
                ],
                networks={"application": (), args.cache.network: ()},
                health=_WEB_HEALTH,
                user=f"{WEB_UID}:{WEB_UID}",
                read_only=False,
                depends_on=[server.ready],
            ),
            self,
        )
        _forget_tokens(f"{name}-cached-tokens", args, [server, *workers], self)
        self.services = [server, *workers, web]
        self.api_url = f"{args.url}{environment.API_PATH}"
        self.site = Site(
            names=args.names,
            certificate=args.certificate,
            routes=[
                Route(paths=(f"{environment.API_PATH}/*", "/health"), upstream=server.url(environment.SERVER_PORT)),
                # A page knows one name: sign-in ends there, and there it calls the API.
                Route(upstream=web.url(environment.WEB_PORT), canonical=True),
            ],
            policy=PAGES,
            ready=[one.ready for one in self.services],
        )
        self.register_outputs({})


def _session_secret(secret: pulumi.Output[str], identity: IdentityProvider) -> pulumi.Output[str]:
    """Return what the web frontend seals sessions with: one that began with a password is none to a provider.

    It would look signed in, and the API would refuse whatever it asks for.
    """
    if identity.public_key_pem is None:
        return secret
    return secret.apply(lambda known: hashlib.sha256(f"{known} and a provider".encode()).hexdigest())


# What was signed in another way is an error to the backend, and the web frontend would show that to people for as long
# as it caches the token. The mark is kept beside the tokens, so that they are forgotten once for each way.
_FORGET: Final = f"""\
set -eu
if [ "$(redis-cli get reflector:tokens-verified-by)" != "$VERIFIER" ]; then
    cached=$(redis-cli --scan --pattern '{startup.CACHED_TOKENS}')
    [ -z "$cached" ] || printf '%s\\n' "$cached" | xargs redis-cli unlink > /dev/null
    redis-cli set reflector:tokens-verified-by "$VERIFIER" > /dev/null
fi
"""


def _forget_tokens(
    name: str, args: ReflectorArgs, backends: Sequence[Service], parent: pulumi.Resource
) -> pulumi.Resource:
    """Forget all tokens that were cached before tokens were verified as they are now, by every one of `backends`."""
    told = {**args.identity.backend, "key": args.identity.public_key_pem or ""}
    verifier = pulumi.Output.all(**told).apply(
        lambda told: hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    )
    return step(
        name,
        StepArgs(
            service=args.cache.service,
            script=_FORGET,
            environment={"VERIFIER": verifier},
            depends_on=[backend.ready for backend in backends],
        ),
        parent,
    )


def _backend_environment(args: ReflectorArgs, secret_key: pulumi.Output[str]) -> Environment:
    store, speech, model = args.object_store, args.speech, args.language_model
    return environment.merged(
        environment.backend(
            url=args.url,
            origins=args.origins,
            redis_host=args.cache.host,
            redis_port=args.cache.port,
            broker_url=args.cache.url(1),
            secret_key=secret_key,
        ),
        args.identity.backend,
        environment.storage(
            endpoint=store.public_endpoint,
            region=store.region,
            bucket=store.bucket,
            access_key_id=store.access_key_id,
            secret_access_key=store.secret_access_key,
        ),
        environment.speech(speech.url, speech.api_key, speech.whisper_model, speech.hf_token),
        environment.language_model(model.url, model.model, model.api_key, model.context_tokens),
        environment.workflow(args.workflow.server_url, args.workflow.host_port, args.workflow.token),
        merged_environment(args.trust),
    )
