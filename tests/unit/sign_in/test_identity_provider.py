"""What the room of sign-in makes of its settings: one handle, whoever says who somebody is."""

from components import sign_in
from settings import sign_in as settings
from testing import building


def test_with_a_password_there_is_an_administrator_taken_over_from_where_it_was() -> None:
    built = building.build(lambda _: sign_in.identity_provider(settings.Password(), admin_email="admin@a.test"))
    assert built.component.admin_email == "admin@a.test"
    assert built.named("sign-in-admin").former_urns == {
        "urn:pulumi:test::reflector::reflector:reflector:Reflector$random:index/randomPassword:RandomPassword"
        "::reflector-admin"
    }, "another password would lock the administrator out"


def test_public_mode_leaves_no_administrator_behind() -> None:
    built = building.build(
        lambda _: sign_in.identity_provider(settings.Public(anonymous_retention_days=9), admin_email=None)
    )
    provider = built.component
    assert (provider.admin_email, provider.admin_password) == (None, None)
    assert not [one.name for one in built.engine.resources if one.name.startswith("sign-in")]
    assert provider.backend == {
        "AUTH_BACKEND": "none", "PUBLIC_MODE": "true", "PUBLIC_DATA_RETENTION_DAYS": "9",
    }  # fmt: skip
    assert provider.server == {}
    assert provider.web == {"FEATURE_REQUIRE_LOGIN": "false"}
