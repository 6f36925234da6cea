"""The composition root: settings → provider → components in data-flow order → outputs."""

import pulumi
import pulumi_docker as docker

import components
import settings as configuration
from components.handover import LanguageModel, ObjectStore, SpeechServices
from settings import LanguageModelMode, SpeechMode, StorageMode

settings = configuration.load()
edge = settings.edge
url = edge.url(edge.domain)

# The Docker host. Every resource on it takes this provider from its parent; there is no default one to fall back to.
provider = docker.Provider(
    "host",
    host=settings.host.address,
    ca_material=settings.host.ca_pem or None,
    cert_material=settings.host.cert_pem or None,
    key_material=pulumi.Output.secret(settings.host.key_pem) if settings.host.key_pem else None,
)
on_host = pulumi.ResourceOptions(providers={"docker": provider})
host = components.Host(
    "host",
    components.HostArgs(
        prefix=settings.prefix,
        daemon=components.Daemon(address=settings.host.address, certificates=settings.host.certificates),
        networks=frozenset({"application", "database", "cache"})
        | ({"storage"} if settings.storage.mode is StorageMode.GARAGE else set()),
        health_interval_seconds=settings.health_interval_seconds,
        startup_limit_seconds=settings.startup_limit_seconds,
        memory_mib=settings.memory_mib,
    ),
    opts=on_host,
).handle
images = components.Images(
    "images",
    components.ImagesArgs(
        images={
            name: components.ImageArgs(reference=source.reference, context=source.context, base=source.base)
            for name, source in settings.images.images.items()
        }
    ),
    opts=on_host,
)


def image(role: str) -> pulumi.Output[str]:
    """Return the id of the image that plays `role`."""
    return images.ids[settings.images.roles[role]]


# Identity and trust.
authority = components.Authority(
    "authority", components.AuthorityArgs(common_name=f"Reflector {settings.stack} root"[:64])
)
certificate = components.Certificate(
    "edge-certificate",
    components.CertificateArgs(
        dns_names=edge.dns_names,
        ip_addresses=edge.ip_addresses,
        authority_certificate_pem=authority.certificate_pem,
        authority_private_key_pem=authority.private_key_pem,
    ),
)

# Data.
postgres = components.Postgres(
    "postgres",
    components.PostgresArgs(host=host, image=image("postgres"), databases=("reflector", "hatchet")),
    opts=on_host,
)
redis = components.Redis("redis", components.RedisArgs(host=host, image=image("redis")), opts=on_host)
store: ObjectStore
match settings.storage.mode:
    case StorageMode.GARAGE:
        store = components.Garage(
            "garage",
            components.GarageArgs(
                host=host,
                image=image("garage"),
                bucket=settings.storage.bucket,
                capacity_gib=settings.storage.garage_capacity_gib,
                public_url=edge.url(edge.s3_domain),
                origins=(url,),
            ),
            opts=on_host,
        ).store
    case StorageMode.S3:
        # Imported here alone: the SDK is large, and its plugin is only asked for once one of its resources is made.
        import pulumi_aws as aws

        from components.s3 import S3, S3Args

        store = S3(
            "s3",
            S3Args(bucket=settings.storage.bucket, origins=(url,)),
            # A default provider would take its region from the environment.
            opts=pulumi.ResourceOptions(providers={"aws": aws.Provider("aws", region=settings.storage.region)}),
        ).store
    case StorageMode.EXTERNAL:
        store = ObjectStore(
            endpoint="",
            public_endpoint=settings.storage.endpoint,
            region=settings.storage.region,
            bucket=settings.storage.bucket,
            access_key_id=settings.storage.access_key_id,
            secret_access_key=settings.storage.secret_access_key or "",
            ready=(),
        )

# Speech and language.
match settings.speech.mode:
    case SpeechMode.CONTAINER:
        speech = components.Transcription(
            "transcription",
            components.TranscriptionArgs(
                host=host,
                image=image("transcription"),
                command=settings.images.command("transcription"),
                trust=authority.trust,
                hf_token=settings.speech.hf_token,
                gpus=settings.speech.gpus,
            ),
            opts=on_host,
        ).services
    case SpeechMode.IN_PROCESS | SpeechMode.HOSTED:
        speech = SpeechServices(
            url=settings.speech.url,
            api_key=settings.speech.api_key,
            whisper_model=settings.speech.whisper_model,
            hf_token=settings.speech.hf_token,
            ready=(),
        )
language_model: LanguageModel | None = None
match settings.language_model.mode:
    case LanguageModelMode.OLLAMA:
        language_model = components.Ollama(
            "ollama",
            components.OllamaArgs(
                host=host,
                image=image("ollama"),
                model=settings.language_model.model,
                context_tokens=settings.language_model.context_tokens,
                gpus=settings.language_model.gpus,
            ),
            opts=on_host,
        ).language_model
    case LanguageModelMode.EXTERNAL:
        language_model = LanguageModel(
            url=settings.language_model.url,
            model=settings.language_model.model,
            api_key=settings.language_model.api_key or "not-needed",
            context_tokens=settings.language_model.context_tokens,
            ready=(),
        )
    case LanguageModelMode.NONE:
        pass

# The application.
hatchet = components.Hatchet(
    "hatchet",
    components.HatchetArgs(
        host=host,
        image=image("hatchet"),
        database=postgres.databases["hatchet"],
    ),
    opts=on_host,
)
reflector = components.Reflector(
    "reflector",
    components.ReflectorArgs(
        host=host,
        backend_image=image("backend"),
        frontend_image=image("frontend"),
        frontend_command=settings.images.command("frontend"),
        url=url,
        password_login=settings.authentication.password,
        admin_email=settings.authentication.admin_email,
        trust=authority.trust,
        database=postgres.databases["reflector"],
        cache=redis.cache,
        object_store=store,
        speech=speech,
        language_model=language_model,
        workflow=hatchet.engine,
    ),
    opts=on_host,
)

# The edge.
caddy = components.Caddy(
    "caddy",
    components.CaddyArgs(
        host=host,
        image=image("caddy"),
        app_names=[name for name in (*edge.dns_names, *edge.ip_addresses) if name != edge.s3_domain],
        s3_name=edge.s3_domain,
        s3_upstream=store.endpoint,
        bind_addresses=edge.bind_addresses,
        https_port=edge.https_port,
        http_port=edge.http_port,
        certificate=certificate.handle,
        ready=[reflector.web],
    ),
    opts=on_host,
)

# The stack's outputs are an interface: names and shapes are only ever added to.
pulumi.export("url", url)
pulumi.export("api_url", f"{url}/v1")
pulumi.export("ca_certificate", authority.certificate_pem)
pulumi.export("trust_bundle", authority.trust.pem)
pulumi.export(
    "pki_inventory",
    [
        {
            "name": "authority",
            "kind": "root",
            "subject": authority.common_name,
            "expires": authority.expires,
        },
        {
            "name": "edge-certificate",
            "kind": "server",
            "subject": certificate.handle.common_name,
            "names": [f"DNS:{name}" for name in edge.dns_names] + [f"IP:{address}" for address in edge.ip_addresses],
            "expires": certificate.handle.expires,
        },
    ],
)
pulumi.export("services", host.services)
pulumi.export("admin_email", settings.authentication.admin_email if settings.authentication.password else None)
pulumi.export("admin_password", reflector.admin_password)
pulumi.export("storage", {"endpoint": store.public_endpoint, "region": store.region, "bucket": store.bucket})
pulumi.export(
    "llm",
    {"url": language_model.url, "model": language_model.model, "context_tokens": language_model.context_tokens}
    if language_model
    else None,
)
