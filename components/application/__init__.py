"""Reflector itself."""

from collections.abc import Mapping, Sequence

from components.application.reflector import MemoryMib, Reflector, ReflectorArgs
from components.base.handles import (
    Cache,
    Database,
    DockerHost,
    EdgeCertificate,
    IdentityProvider,
    Image,
    LanguageModel,
    ObjectStore,
    SpeechServices,
    TrustBundle,
    WorkflowEngine,
)
from settings.application import Application
from settings.edge import Edge


def reflector(
    settings: Application,
    edge: Edge,
    host: DockerHost,
    images: Mapping[str, Image],
    *,
    trust: TrustBundle,
    names: Sequence[str],
    certificate: EdgeCertificate,
    database: Database,
    cache: Cache,
    identity: IdentityProvider,
    object_store: ObjectStore,
    speech: SpeechServices,
    language_model: LanguageModel,
    workflow: WorkflowEngine,
) -> Reflector:
    """Return Reflector, served at `names`, the domain first, with `certificate`."""
    return Reflector(
        "reflector",
        ReflectorArgs(
            host=host,
            backend=images["backend"],
            frontend=images["frontend"],
            memory_mib=MemoryMib(
                server=settings.server.memory_mib,
                worker=settings.worker.memory_mib,
                beat=settings.beat.memory_mib,
                hatchet_worker_llm=settings.hatchet_worker_llm.memory_mib,
                web=settings.web.memory_mib,
            ),
            worker_processes=settings.worker.processes,
            url=edge.url(edge.domain),
            origins=edge.origins,
            names=names,
            certificate=certificate,
            trust=trust,
            database=database,
            cache=cache,
            identity=identity,
            object_store=object_store,
            speech=speech,
            language_model=language_model,
            workflow=workflow,
        ),
    )
