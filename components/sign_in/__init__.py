"""Who may use Reflector, and who says who somebody is."""

from typing import Final, assert_never

import pulumi

from components.base.handles import IdentityProvider
from components.sign_in.password import PasswordSignIn, PasswordSignInArgs
from rendering import environment
from settings import sign_in

# Where the administrator's password was made before sign-in had a room of its own.
_FORMER_OWNER: Final = ("reflector", "reflector:reflector:Reflector")


def identity_provider(settings: sign_in.Password | sign_in.Public, *, admin_email: str | None) -> IdentityProvider:
    """Return the identity provider of `settings`; `admin_email` is the administrator's login name, if there is one."""
    match settings:
        case sign_in.Password():
            assert admin_email
            return PasswordSignIn(
                "sign-in",
                PasswordSignInArgs(admin_email=admin_email, former_owner=pulumi.create_urn(*_FORMER_OWNER)),
            ).provider
        case sign_in.Public():
            return IdentityProvider(
                backend=environment.public_backend(settings.anonymous_retention_days),
                server={},
                web=environment.public_web(),
            )
        case _:
            assert_never(settings)
