"""What the room of sign-in makes of its settings: one handle, whoever says who somebody is."""

from typing import Any

import pytest

from components import sign_in
from settings import Secret
from settings import sign_in as settings
from settings.edge import Place
from testing import building
from testing.building import Built, Neighbours
from testing.certificates import rsa_public_key


def provider_of(given: Any, admin_email: str | None = None) -> Built:
    """Return what becomes of these settings, beside usual neighbours."""

    def make(near: Neighbours) -> Any:
        return sign_in.identity_provider(
            given,
            near.host,
            {"authentik": near.image("ak")},
            databases={"authentik": near.database("authentik")},
            certificate=near.certificate(),
            admin_email=admin_email,
            place=Place(domain=near.domain("auth"), url=f"https://{near.domain('auth')}", own_port=None),
            application_url=f"https://{near.domain()}",
        )

    return building.build(make)


def test_with_a_password_there_is_an_administrator_taken_over_from_where_it_was() -> None:
    built = provider_of(settings.Password(), "admin@a.test")
    assert built.component.admin_email == "admin@a.test"
    assert built.named("sign-in-admin").former_urns == {
        "urn:pulumi:test::reflector::reflector:reflector:Reflector$random:index/randomPassword:RandomPassword"
        "::reflector-admin"
    }, "another password would lock the administrator out"


def test_public_mode_leaves_no_administrator_behind() -> None:
    built = provider_of(settings.Public(anonymous_retention_days=9))
    provider = built.component
    assert (provider.admin_email, provider.admin_password) == (None, None)
    assert not [one.name for one in built.engine.resources if one.name.startswith("sign-in")]
    assert provider.backend == {
        "AUTH_BACKEND": "none", "PUBLIC_MODE": "true", "PUBLIC_DATA_RETENTION_DAYS": "9",
    }  # fmt: skip
    assert provider.server == {}
    assert provider.web == {"FEATURE_REQUIRE_LOGIN": "false"}


OIDC: dict[str, Any] = {
    "issuer": "https://login.example.com/realms/company",
    "token_url": "https://login.example.com/token",
    "client_id": "meetings",
    "client_secret": Secret("HandedClientSecret"),
    "public_key": rsa_public_key(),
}


@pytest.mark.parametrize(("more", "audience"), [({}, "meetings"), ({"audience": "https://api"}, "https://api")])
def test_a_provider_elsewhere_makes_nothing_here(more: dict[str, str], audience: str) -> None:
    built = provider_of(settings.Oidc(**{**OIDC, **more}))
    provider = built.component
    assert built.engine.resources[-1].name != "authentik"
    assert provider.backend == {
        "AUTH_BACKEND": "jwt",
        "PUBLIC_MODE": "false",
        "AUTH_JWT_ALGORITHM": "RS256",
        "AUTH_JWT_PUBLIC_KEY": "identity-provider.pem",
        "AUTH_JWT_AUDIENCE": audience,
    }
    assert {name: value for name, value in provider.web.items() if name != "AUTHENTIK_CLIENT_SECRET"} == {
        "AUTH_PROVIDER": "authentik",
        "FEATURE_REQUIRE_LOGIN": "true",
        "AUTHENTIK_ISSUER": "https://login.example.com/realms/company",
        "AUTHENTIK_REFRESH_TOKEN_URL": "https://login.example.com/token",
        "AUTHENTIK_CLIENT_ID": "meetings",
    }
    assert (provider.admin_email, provider.server) == (None, {})


def test_authentik_knows_the_administrator_as_the_person_a_password_made() -> None:
    given = settings.Authentik(
        users={"jane": settings.User(name="Jane", email="jane@example.com")},
        groups={"staff": settings.Group(members=("admin", "jane")), "others": settings.Group(members=("jane",))},
        access=settings.Access(group="staff"),
    )
    application = sign_in._application(given, "https://a.test", "admin@a.test")
    administrator, jane = application.people
    assert (administrator.user_name, administrator.subject, administrator.groups) == (
        "admin", "local:admin@a.test", ("staff",),
    )  # fmt: skip
    assert (jane.user_name, jane.subject, jane.groups) == ("jane", "", ("staff", "others"))
    assert (application.access_group, application.groups) == ("staff", ("staff", "others"))
