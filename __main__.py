"""The composition root: settings → host → rooms in the order data flows → outputs."""

import gc

from components import (
    application,
    data,
    edge,
    hosts,
    images,
    language_model,
    pki,
    providers,
    relays,
    sign_in,
    speech,
    storage,
    workflow,
)
from components.base.sdk import drop_debug_messages, export
from components.base.secrecy import keep_secret, sealed
from settings.program import load

# The program lives for a second and keeps what it makes: looking for garbage is a tenth of its time, and finds none.
gc.disable()
drop_debug_messages()

settings = load()
keep_secret(settings.encrypted)

# The Docker host.
host = hosts.docker_host(
    "host",
    settings.host,
    settings.health,
    settings.proxy,
    prefix=settings.prefix,
    networks=settings.networks,
    direct=settings.reached_directly,
    logins=settings.sources.logins,
)

# Identity and trust.
authorities = pki.authorities("authority", settings.pki, settings.stack, settings.signers, settings.registered.chains)
registry = pki.registry(settings.pki, authorities, settings.registered)
identity_of_edge = pki.edge_identity(
    "edge-certificate",
    settings.certificate,
    authorities,
    registry,
    own=settings.own,
    signer=settings.signer,
    hours=settings.leaf_hours,
    common_name=settings.edge.domain,
    dns_names=settings.dns_names,
    ip_addresses=settings.addresses,
    trusted=settings.trusted_certificates,
)
certificate = identity_of_edge.certificate
# What clients have to trust; what calls the edge from inside; and what calls others alone.
roots = pki.trust(*identity_of_edge.roots)
trust = pki.trust(*identity_of_edge.issuers, *settings.trusted_certificates)
outside = pki.trust(*settings.trusted_certificates)
trusting = hosts.host_trust("host-trust", settings.host, host, roots=roots, trusted=settings.trusted_by_name)

# The images, which the host may have to trust somebody for.
parts = images.images("images", settings.sources, host, pulls=trusting.pulls)

# Data.
stores = data.data_services(
    settings.data,
    host,
    parts,
    databases=("reflector", "hatchet"),
    optional_databases=settings.optional_databases,
    connections=sum(settings.connections.values()),
)
objects = storage.object_store(
    settings.storage,
    host,
    parts,
    place=settings.storage_place,
    origins=settings.edge.origins,
    certificate=certificate,
)

# Speech and language.
speech_services = speech.speech_services(settings.speech, host, parts, trust=trust)
model = language_model.model(settings.language_model, host, parts, trust=outside)

# The application.
engine = workflow.workflow_engine(settings.workflow, host, parts, database=stores.databases["hatchet"], trust=outside)
identity = sign_in.identity_provider(
    settings.sign_in,
    host,
    parts,
    databases=stores.databases,
    certificate=certificate,
    admin_email=settings.admin_email,
    place=settings.sign_in_place,
    application_url=settings.url,
)
reflector = application.reflector(
    settings.application,
    settings.edge,
    host,
    parts,
    trust=trust,
    names=settings.application_hosts,
    certificate=certificate,
    database=stores.databases["reflector"],
    cache=stores.cache,
    identity=identity,
    object_store=objects,
    speech=speech_services,
    language_model=model,
    workflow=engine,
)

# The edge serves what the others hand it.
sites = [reflector.site, *objects.sites, *identity.sites]
caddy = edge.edge(settings.edge, host, parts, sites=sites, roots=roots)

# Relays stand in front of any of these, or of what is elsewhere.
own = [
    *stores.services,
    *objects.services,
    *speech_services.services,
    *model.services,
    *engine.services,
    *identity.services,
    *reflector.services,
    caddy.service,
]
relayed = relays.relays(
    settings.relays,
    host,
    parts,
    registry=registry,
    authorities=authorities,
    services=own,
    edge=caddy.service,
    names=[site.names[0] for site in sites],
    trust=trust,
)

# Container providers are handed what they are commanded with.
container_providers = providers.container_providers(
    settings.container_providers,
    host,
    registry=registry,
    authorities=authorities,
    brought=settings.container_authorities,
)

# The stack's outputs are an interface: names and shapes are only ever added to.
services = [*own, *(relay.service for relay in relayed.values())]
# A step of a rollover is done once all of these have it.
ready = [
    caddy.ready,
    *trusting.ready,
    *(relay.ready for relay in relayed.values()),
    *(service.ready for service in services),
]
pki.deployed(settings.pki, authorities, ready, settings.signers, settings.registered.chains)
outputs = {
    "url": settings.url,
    "api_url": reflector.api_url,
    "ca_certificate": roots.pem,
    "trust_page": caddy.trust_page_url,
    "trust_bundle": trust.pem,
    "revocation_lists": pki.revocation_lists(authorities),
    "pki_inventory": pki.inventory(
        authorities,
        identity_of_edge.authorities,
        identity_of_edge.certificates,
        registry,
        hosts=dict.fromkeys(identity_of_edge.relied_on, trusting.names),
    ),
    "container_providers": container_providers,
    "services": {service.name: service.described for service in services},
    "admin_email": identity.admin_email,
    "admin_password": identity.admin_password,
    "sign_in": identity.described,
    "storage": {"endpoint": objects.public_endpoint, "region": objects.region, "bucket": objects.bucket},
    "llm": {"url": model.url, "model": model.model, "context_tokens": model.context_tokens},
}
export({name: sealed(value, settings.encrypted) for name, value in outputs.items()})
