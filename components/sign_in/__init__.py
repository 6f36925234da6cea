"""Who may use Reflector, and who says who somebody is."""

from collections.abc import Mapping
from typing import Final, assert_never

import pulumi

from components.base.handles import Database, DockerHost, EdgeCertificate, IdentityProvider, Image
from components.base.secrecy import revealed
from components.sign_in.authentik import CLOSED_PATHS, Authentik, AuthentikArgs
from components.sign_in.password import PasswordSignIn, PasswordSignInArgs
from rendering import authentik as rendering
from rendering import environment
from settings import sign_in
from settings.edge import Place

# Where the administrator's password was made before sign-in had a room of its own.
_FORMER_OWNER: Final = ("reflector", "reflector:reflector:Reflector")


def identity_provider(
    settings: sign_in.Password | sign_in.Authentik | sign_in.Oidc | sign_in.Public,
    host: DockerHost,
    images: Mapping[str, Image],
    *,
    databases: Mapping[str, Database],
    certificate: EdgeCertificate,
    admin_email: str | None,
    place: Place | None,
    application_url: str,
) -> IdentityProvider:
    """Return the identity provider of `settings`.

    `admin_email` is the administrator's address, where there is one. One on this host is served at `place`; people open
    Reflector at `application_url`.
    """
    match settings:
        case sign_in.Password():
            assert admin_email
            return PasswordSignIn(
                "sign-in",
                PasswordSignInArgs(admin_email=admin_email, former_owner=pulumi.create_urn(*_FORMER_OWNER)),
            ).provider
        case sign_in.Authentik():
            assert admin_email and place
            return Authentik(
                "authentik",
                AuthentikArgs(
                    host=host,
                    image=images["authentik"],
                    server_memory_mib=settings.server.memory_mib,
                    worker_memory_mib=settings.worker.memory_mib,
                    database=databases["authentik"],
                    domain=place.domain,
                    url=place.url,
                    own_port=place.own_port,
                    certificate=certificate,
                    application=_application(settings, application_url, admin_email),
                    closed_paths=CLOSED_PATHS if settings.closed_api else (),
                    signing_key_generation=settings.signing_key_generation,
                    client_secret_generation=settings.client_secret_generation,
                ),
            ).provider
        case sign_in.Oidc():
            return _elsewhere(settings)
        case sign_in.Public():
            return IdentityProvider(
                backend=environment.public_backend(settings.anonymous_retention_days),
                server={},
                web=environment.public_web(),
            )
        case _:
            assert_never(settings)


def _elsewhere(settings: sign_in.Oidc) -> IdentityProvider:
    return IdentityProvider(
        backend=environment.jwt_backend(settings.audience or settings.client_id),
        server={},
        web=environment.provider_web(
            issuer=settings.issuer,
            token_url=settings.token_url,
            client_id=settings.client_id,
            client_secret=revealed(settings.client_secret) or "",
        ),
        public_key_pem=pulumi.Output.from_input(settings.public_key),
        described={"issuer": settings.issuer},
    )


def _application(settings: sign_in.Authentik, url: str, admin_email: str) -> rendering.Application:
    def groups_of(user_name: str) -> tuple[str, ...]:
        return tuple(name for name, group in settings.groups.items() if user_name in group.members)

    administrator = rendering.Person(
        user_name=rendering.REFLECTOR_ADMINISTRATOR,
        name="Administrator",
        email=admin_email,
        groups=groups_of(rendering.REFLECTOR_ADMINISTRATOR),
        # What Reflector has known this person by since there was a password (reflector/tools/provision_admin.py).
        subject=f"local:{admin_email}",
    )
    others = (
        rendering.Person(
            user_name=user_name,
            name=user.name,
            email=user.email,
            is_active=user.is_active,
            groups=groups_of(user_name),
        )
        for user_name, user in settings.users.items()
    )
    return rendering.Application(
        slug=settings.application_slug,
        title=settings.title,
        url=url,
        access_token_minutes=settings.access_token_minutes,
        refresh_token_days=settings.refresh_token_days,
        administrator=administrator,
        others=tuple(others),
        groups=tuple(settings.groups),
        access_group=settings.access.group,
        access_email_domain=settings.access.email_domain,
    )
