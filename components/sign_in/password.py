"""Sign-in with a password, by one administrator."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pulumi

from components.base.handles import IdentityProvider
from components.base.secret import password, token
from rendering import environment
from rendering.password import password_hash


@dataclass(frozen=True, kw_only=True)
class PasswordSignInArgs:
    """One administrator."""

    admin_email: str
    former_owner: pulumi.Input[str] | None = None
    """URN of the component that made the password in an earlier release, as `<its name>-admin`."""


class PasswordSignIn(pulumi.ComponentResource):
    """One administrator with a generated password. Creates: the password and the salt of its hash."""

    admin_password: pulumi.Output[str]
    """Secret."""
    provider: IdentityProvider
    """What Reflector's processes are told."""

    def __init__(self, name: str, args: PasswordSignInArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("reflector:password:PasswordSignIn", name, {}, opts)

        def former(part: str) -> list[pulumi.Alias]:
            if args.former_owner is None:
                return []
            owner = pulumi.Output.from_input(args.former_owner)
            return [pulumi.Alias(name=f"reflector-{part}", parent=owner)]

        self.admin_password = password(f"{name}-admin", self, optional=True, aliases=former("admin"))
        salt = token(f"{name}-admin-salt", self, size_bytes=16, optional=True, aliases=former("admin-salt"))
        hashed: pulumi.Output[str] = pulumi.Output.all(password=self.admin_password, salt=salt).apply(_hashed)
        self.provider = IdentityProvider(
            backend=environment.password_backend(),
            server={"ADMIN_EMAIL": args.admin_email, "ADMIN_PASSWORD_HASH": hashed},
            web=environment.password_web(),
            admin_email=args.admin_email,
            admin_password=self.admin_password,
        )
        self.register_outputs({"admin_password": self.admin_password})


async def _hashed(secrets: dict[str, Any]) -> str:
    """Return the hash of a password, made beside the program: it takes a tenth of a second on purpose."""
    return await asyncio.to_thread(password_hash, **secrets)
