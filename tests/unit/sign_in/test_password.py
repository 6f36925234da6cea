"""Sign-in with a password: one administrator, whose password no process is ever told."""

from components.base.handles import IdentityProvider
from components.sign_in.password import PasswordSignIn, PasswordSignInArgs
from rendering.password import password_hash
from testing import building
from testing.building import password_of, token_of
from testing.engine import is_secret, value_of

BUILT = building.built("PasswordSignIn")
PROVIDER: IdentityProvider = BUILT.component.provider


def test_the_administrators_password_is_secret() -> None:
    assert PROVIDER.admin_password is not None
    assert is_secret(PROVIDER.admin_password)
    assert value_of(PROVIDER.admin_password) == password_of("it-admin")


def test_the_server_alone_is_told_of_the_administrator_and_only_the_hash_of_the_password() -> None:
    hashed = PROVIDER.server["ADMIN_PASSWORD_HASH"]
    assert value_of(hashed) == password_hash(password_of("it-admin"), token_of("it-admin-salt", 16))  # type: ignore[arg-type]  # an output here
    assert is_secret(hashed)  # type: ignore[arg-type]  # an output here
    assert PROVIDER.server["ADMIN_EMAIL"] == PROVIDER.admin_email == "admin@reflector.test"
    assert {"ADMIN_EMAIL", "ADMIN_PASSWORD_HASH"}.isdisjoint([*PROVIDER.backend, *PROVIDER.web])


def test_every_process_is_told_how_people_sign_in() -> None:
    assert PROVIDER.backend == {"AUTH_BACKEND": "password", "PUBLIC_MODE": "false"}
    assert PROVIDER.web == {"AUTH_PROVIDER": "credentials", "FEATURE_REQUIRE_LOGIN": "true"}


def test_a_password_made_before_by_somebody_else_is_taken_over() -> None:
    owner = "urn:pulumi:test::reflector::reflector:reflector:Reflector::reflector"
    args = PasswordSignInArgs(admin_email="a@b.test", former_owner=owner)
    built = building.build(lambda _: PasswordSignIn("it", args))
    prefix = "urn:pulumi:test::reflector::reflector:reflector:Reflector"
    assert built.named("it-admin").former_urns == {
        f"{prefix}$random:index/randomPassword:RandomPassword::reflector-admin"
    }
    assert {
        f"{prefix}$random:index/randomPassword:RandomPassword::reflector-admin-salt",
        f"{prefix}$random:index/randomBytes:RandomBytes::reflector-admin-salt",
    } <= built.named("it-admin-salt").former_urns


def test_without_a_former_owner_nothing_of_anybody_else_is_taken_over() -> None:
    parts = building.below(BUILT.engine, "it")
    former = {urn.rpartition("::")[2] for part in parts for urn in part.former_urns}
    assert former == {"it-admin-salt"}, "its own, of another type"
