"""Who may use Reflector, and who says who somebody is."""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, ClassVar, Final, Literal, TypeAlias

from pydantic import Field

from rendering.authentik import REFLECTOR_ADMINISTRATOR
from settings.base import REMOVE, Conflict, Model, Unknown
from settings.values import (
    ApplicationSlug,
    BrowserPort,
    Days,
    Domain,
    Email,
    Generation,
    GroupName,
    IssuerUrl,
    Members,
    MemoryMib,
    PublicName,
    RsaPublicKey,
    Title,
    Token,
    TokenMinutes,
    TokenUrl,
    UserName,
    Word,
)

DEFAULT_HTTPS_PORT: Final = 8445
RETENTION_DAYS: Final = 7
"""PUBLIC_DATA_RETENTION_DAYS by default (reflector/settings.py, v0.45.0)."""


class Password(Model):
    """One administrator with a generated password."""

    mode: Literal["password"] = "password"
    admin_email: Email | None = Field(
        default=None,
        description="Login name of the administrator; by default admin@<domain>, or admin@reflector.localhost where "
        "that is an address",
    )


class Public(Model):
    """Open to everybody who reaches it: nobody signs in."""

    mode: Literal["public"] = "public"
    everybody_reads_everything: bool = Field(
        default=False,
        description="Has to be true: everybody who reaches it is shown every transcript, those that were private "
        "before among them",
    )
    anonymous_retention_days: Days = Field(
        default=RETENTION_DAYS,
        description="Days after which a transcript that nobody owns, as all are made here, is deleted",
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield a word of warning until somebody has taken it."""
        if not self.everybody_reads_everything:
            yield Conflict(
                path=("everybody_reads_everything",),
                given="false",
                allowed="true, as everybody who reaches it is shown every transcript, private ones of before "
                f"among them, and what is made here is deleted after "
                f"{RETENTION_DAYS} days (sign_in.anonymous_retention_days)",
                remedy="If that is meant: pulumi config set --path {path} true",
            )


AUTHENTIK_SERVER_MIB: Final = 768
"""It was seen to take 600 MiB a while after its start."""
AUTHENTIK_WORKER_MIB: Final = 640
"""250 MiB, and 235 more for the command that applies a blueprint, beside what else it does at its start."""


class AuthentikServer(Model):
    """Authentik's web server."""

    SERVICES: ClassVar = ("authentik",)
    memory_mib: MemoryMib = Field(default=2048, description="Memory limit of Authentik's server in MiB")


class AuthentikWorker(Model):
    """What Authentik does in the background."""

    SERVICES: ClassVar = ("authentik-worker",)
    memory_mib: MemoryMib = Field(default=2048, description="Memory limit of Authentik's worker in MiB")


class User(Model):
    """Somebody who may sign in, with a generated initial password that is only theirs from then on."""

    name: Title = Field(description="Name, as others see it")
    email: Email = Field(description="E-mail address; Reflector can do with nobody who has none")
    is_active: bool = Field(default=True, description="false takes all access away, and keeps what the person owns")


class Group(Model):
    """A group of users."""

    members: Members = Field(
        description=f"Names below sign_in.users, or {REFLECTOR_ADMINISTRATOR} for the administrator"
    )


class Access(Model):
    """Who of those that Authentik knows may enter; both together mean both."""

    group: str | None = Field(default=None, description="Only members of this group of sign_in.groups")
    email_domain: Domain | None = Field(
        default=None, description="Only people whose e-mail address is in this domain, those of sub-domains not"
    )


class Authentik(Model):
    """An Authentik on this Docker host, with Reflector as an application of it."""

    IMAGES: ClassVar = ("authentik",)
    NETWORKS: ClassVar = ("identity",)

    mode: Literal["authentik"] = "authentik"
    domain: PublicName | None = Field(default=None, description="Host name people sign in at; by default auth.<domain>")
    https_port: BrowserPort | None = Field(
        default=None,
        description="Published HTTPS port people sign in at, where edge.domain is an address: by default "
        f"{DEFAULT_HTTPS_PORT}",
    )
    admin_email: Email | None = Field(
        default=None,
        description=f"E-mail address of Reflector's administrator, called {REFLECTOR_ADMINISTRATOR} in Authentik, who "
        "is the same person as with a password; by default admin@<domain>, or admin@reflector.localhost where that is "
        "an address",
    )
    title: Title = Field(default="Reflector", description="Title of the sign-in pages, and name of the application")
    application_slug: ApplicationSlug = Field(
        default="reflector", description="Name of the application in Authentik's URLs"
    )
    users: dict[UserName, User] = Field(default={}, description="Users by name, besides the administrator")
    groups: dict[GroupName, Group] = Field(default={}, description="Groups by name")
    access: Access = Field(default=Access(), description="Who may enter; by default everybody Authentik knows")
    access_token_minutes: TokenMinutes = Field(
        default=15,
        description="Life of an access token in minutes: for so long somebody whose access was taken away still has it",
    )
    refresh_token_days: Days = Field(
        default=30, description="Days after which somebody who did not come back has to sign in again"
    )
    closed_api: bool = Field(
        default=True,
        description="Whether the edge refuses the paths of Authentik's API that change expressions and blueprints, "
        "which are code that runs there",
    )
    signing_key_generation: Generation = Field(
        default=1, description="One more makes a new key that tokens are signed with"
    )
    client_secret_generation: Generation = Field(
        default=1, description="One more makes a new secret between Reflector and Authentik"
    )
    server: AuthentikServer = Field(default=AuthentikServer(), description="Authentik's server")
    worker: AuthentikWorker = Field(default=AuthentikWorker(), description="Authentik's worker")

    def conflicts(self) -> Iterator[Conflict]:
        """Yield members and groups nobody is, and two people with one address."""
        known = {REFLECTOR_ADMINISTRATOR, *self.users}
        for name, group in self.groups.items():
            for index, member in enumerate(group.members if isinstance(group.members, tuple) else ()):
                if member not in known:
                    yield Conflict(
                        path=("groups", name, "members", index),
                        others=(("users",),),
                        given=repr(member),
                        allowed=f"a name below sign_in.users, or {REFLECTOR_ADMINISTRATOR}",
                        remedy=f"Add the user, or take the name away: {REMOVE.partition(': ')[2]}",
                    )
        if self.access.group is not None and self.access.group not in self.groups:
            yield Conflict(
                path=("access", "group"),
                others=(("groups",),),
                given=f"{self.access.group!r}, a group nobody is in",
                allowed="the name of a group below sign_in.groups",
                remedy="Set it: pulumi config set --path {path} <group>",
            )
        addresses = Counter(map(str.lower, self.addresses))
        for name, user in self.users.items():
            if not isinstance(user.email, Unknown) and addresses[user.email.lower()] > 1:
                yield Conflict(
                    path=("users", name, "email"),
                    others=(("admin_email",),),
                    given=f"{user.email!r}, which somebody else has too",
                    allowed="an address of one person",
                    remedy="Set it: pulumi config set --path {path} <address>",
                )

    @property
    def addresses(self) -> list[str]:
        """Addresses that are known, of the administrator too where it was set."""
        found = [self.admin_email, *(user.email for user in self.users.values())]
        return [address for address in found if isinstance(address, str)]


class Oidc(Model):
    """An OpenID Connect provider elsewhere, such as an Authentik or a Keycloak."""

    mode: Literal["oidc"] = "oidc"
    issuer: IssuerUrl = Field(
        description="Its issuer without the slash at the end; /.well-known/openid-configuration is below it"
    )
    token_url: TokenUrl = Field(description="Its token endpoint, as its discovery document has it")
    client_id: Word = Field(description="Client id of Reflector there")
    client_secret: Token = Field(description="Client secret of Reflector there")
    public_key: RsaPublicKey = Field(description="The RSA public key it signs access tokens with (RS256), as PEM")
    audience: Word | None = Field(default=None, description="The aud of its access tokens; by default the client id")
    access_token_minutes: TokenMinutes = Field(
        default=60,
        description="Life of its access tokens in minutes, as it is set there: Reflector's pages renew them four "
        "minutes before their end, so shorter ones are renewed without pause",
    )


SignIn: TypeAlias = Annotated[Password | Authentik | Oidc | Public, Field(discriminator="mode")]
