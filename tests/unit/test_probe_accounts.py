"""Who calls the server: tokens of a provider, its own tokens, and API keys."""

import asyncio
import base64
import datetime
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from probe import accounts, database, server, users, worker
from probe.environment import Environment
from probe.passwords import hash_password
from probe.wiring import WiringError
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

SECRET = "0123456789abcdef0123456789abcdef"
ADMIN = "admin@localhost"
AUDIENCE = "reflector"
JWT = {
    "AUTH_BACKEND": "jwt",
    "AUTH_JWT_PUBLIC_KEY": "public.pem",
    "AUTH_JWT_AUDIENCE": AUDIENCE,
    "SECRET_KEY": SECRET,
}
PASSWORD = {"AUTH_BACKEND": "password", "SECRET_KEY": SECRET, "ADMIN_EMAIL": ADMIN}

SIGNING = rsa.generate_private_key(public_exponent=65537, key_size=2048)
FOREIGN = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())


def public_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(*form).decode()


def private_pem(key: rsa.RSAPrivateKey) -> str:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form).decode()


def certificate_pem(key: rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signing")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


class People:
    """The database's place: rows of users, keys and transcripts."""

    def __init__(self) -> None:
        self.ids = {f"local:{ADMIN}": "row-admin"}
        self.keys: list[tuple[str, users.ApiKey]] = []
        self.transcripts: list[database.Transcript] = []
        self.password = hash_password("right", iterations=10)

    async def find_user(self, dsn: str, email: str) -> tuple[str, str] | None:
        return ("row-admin", self.password) if email == ADMIN else None

    async def sign_in(self, dsn: str, authentik_uid: str, email: str) -> str:
        return self.ids.setdefault(authentik_uid, f"row-{len(self.ids)}")

    async def add_api_key(self, dsn: str, user_id: str, key_hash: str, name: str | None) -> users.ApiKey:
        made = users.ApiKey(id=f"key-{len(self.keys)}", user_id=user_id, name=name, created_at=moment())
        self.keys.append((key_hash, made))
        return made

    async def list_api_keys(self, dsn: str, user_id: str) -> list[users.ApiKey]:
        return [key for _, key in self.keys if key.user_id == user_id]

    async def find_api_key(self, dsn: str, key_hash: str) -> users.ApiKey | None:
        return next((key for known, key in self.keys if known == key_hash), None)

    async def delete_api_key(self, dsn: str, identity: str, user_id: str) -> None:
        self.keys = [item for item in self.keys if (item[1].id, item[1].user_id) != (identity, user_id)]

    async def add_transcript(self, dsn: str, name: str, user_id: str | None) -> database.Transcript:
        made = database.Transcript(
            id=f"transcript-{len(self.transcripts)}",
            name=name,
            status="idle",
            title=None,
            long_summary=None,
            created_at=moment(),
            user_id=user_id,
        )
        self.transcripts.append(made)
        return made

    async def list_transcripts(self, dsn: str, user_id: str | None) -> list[database.Transcript]:
        return [made for made in self.transcripts if user_id in (None, made.user_id)]

    async def find_transcript(self, dsn: str, identity: str) -> database.Transcript | None:
        return next((made for made in self.transcripts if made.id == identity), None)


def moment() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of public keys, with the provider's in it."""
    monkeypatch.setattr(accounts, "JWT_KEYS", tmp_path)
    (tmp_path / "public.pem").write_text(public_pem(SIGNING))
    return tmp_path


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch, keys: Path) -> People:
    made = People()
    for name in ("find_user", "sign_in", "add_api_key", "list_api_keys", "find_api_key", "delete_api_key"):
        monkeypatch.setattr(users, name, getattr(made, name))
    for name in ("add_transcript", "list_transcripts", "find_transcript"):
        monkeypatch.setattr(database, name, getattr(made, name))
    return made


def call(app: Starlette, method: str, path: str, headers: dict[str, str], body: Any = None) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.request(method, path, headers=headers, json=body)

    return asyncio.run(run())


def claims(**changes: Any) -> dict[str, Any]:
    now = int(moment().timestamp())
    given = {"sub": "hashed-id", "email": "ada@example.org", "aud": AUDIENCE, "iat": now, "exp": now + 300}
    return {name: value for name, value in (given | changes).items() if value is not None}


def signed(key: Any = SIGNING, algorithm: str = "RS256", **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm=algorithm)


def part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unsigned() -> str:
    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims())}."


def signed_with_the_public_key() -> str:
    """What a server accepts that takes the algorithm from the token: its public key, known to all, as the secret."""
    text = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims())}"
    digest = hmac.new(public_pem(SIGNING).encode(), text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_provider_s_token_makes_a_row_at_the_first_call_and_finds_it_again(people: People) -> None:
    app = server.application(Environment(JWT))
    first = call(app, "GET", "/v1/me", bearer(signed()))
    assert (first.status_code, first.json()) == (200, {"sub": "row-1", "email": "ada@example.org"})
    # As upstream: the row keeps the first address, the answer has the token's.
    again = call(app, "GET", "/v1/me", bearer(signed(email="other@example.org"))).json()
    assert again == {"sub": "row-1", "email": "other@example.org"}
    assert set(people.ids) == {f"local:{ADMIN}", "hashed-id"}


SOON = int(moment().timestamp()) + 3600


@pytest.mark.parametrize(
    "token",
    [
        lambda: signed(aud="another"),
        lambda: signed(aud=["another"]),
        lambda: signed(aud=None),
        lambda: signed(exp=1),
        lambda: signed(nbf=SOON),
        lambda: signed(iat=SOON),
        lambda: signed(sub=7),
        lambda: signed(FOREIGN),
        lambda: signed(CURVE, "ES256"),
        lambda: signed(SECRET, "HS256"),
        lambda: signed(SIGNING, "RS512"),
        unsigned,
        signed_with_the_public_key,
        lambda: "no token at all",
    ],
    ids=[
        "audience",
        "audiences",
        "no-audience",
        "expired",
        "not-before",
        "issued-later",
        "sub-is-a-number",
        "foreign-key",
        "curve",
        "own-secret",
        "other-digest",
        "unsigned",
        "public-key-as-secret",
        "garbage",
    ],
)
def test_a_token_that_does_not_hold_is_refused(people: People, token: Callable[[], str]) -> None:
    app = server.application(Environment(JWT))
    answer = call(app, "GET", "/v1/transcripts", bearer(token()))
    assert (answer.status_code, answer.json()) == (401, {"detail": "Invalid authentication"})
    assert set(people.ids) == {f"local:{ADMIN}"}
    assert refused_socket(app, token()) == server.UNAUTHORISED


@pytest.mark.parametrize("changes", [{"sub": None}, {"email": None}, {"email": 7}])
def test_a_token_without_what_upstream_reads_is_an_error_of_the_server(people: People, changes: dict[str, Any]) -> None:
    app = server.application(Environment(JWT))
    assert call(app, "GET", "/v1/me", bearer(signed(**changes))).status_code == 500
    assert refused_socket(app, signed(**changes)) == server.UNAUTHORISED


def test_a_list_of_audiences_may_hold_ours(people: People) -> None:
    app = server.application(Environment(JWT))
    assert call(app, "GET", "/v1/me", bearer(signed(aud=["other", AUDIENCE]))).status_code == 200


@pytest.mark.parametrize("email", ["", None])
def test_a_new_person_without_an_address_is_never_made(
    keys: Path, monkeypatch: pytest.MonkeyPatch, email: str | None
) -> None:
    class Connection:
        async def fetchval(self, statement: str, *values: object) -> None:
            return None

        async def execute(self, statement: str, *values: object) -> None:
            raise AssertionError("a row was written")

        async def close(self) -> None:
            """Nothing is open."""

    async def connect(dsn: str) -> Connection:
        return Connection()

    monkeypatch.setattr(users, "connect", connect)
    app = server.application(Environment(JWT))
    assert call(app, "GET", "/v1/me", bearer(signed(email=email))).status_code == 500


def refused_socket(app: Starlette, token: str) -> int:
    headers = {"Sec-WebSocket-Protocol": f"bearer, {token}"}
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        TestClient(app).websocket_connect("/v1/events", headers=headers),
    ):
        raise AssertionError("a WebSocket was accepted")
    return refused.value.code


def test_the_websocket_takes_a_provider_s_token_as_a_subprotocol(people: People) -> None:
    headers = {"Sec-WebSocket-Protocol": f"bearer, {signed()}"}
    app = server.application(Environment(JWT))
    with TestClient(app).websocket_connect("/v1/events", headers=headers) as socket:
        assert str(socket.accepted_subprotocol) == "bearer"


def test_transcripts_belong_to_who_made_them(people: People) -> None:
    app = server.application(Environment(JWT))
    ada, bob = bearer(signed()), bearer(signed(sub="other-id"))
    made = call(app, "POST", "/v1/transcripts", ada, {"name": "Meeting"}).json()
    assert made["user_id"] == "row-1"
    assert [item["id"] for item in call(app, "GET", "/v1/transcripts", ada).json()["items"]] == [made["id"]]
    assert call(app, "GET", "/v1/transcripts", bob).json()["items"] == []
    path = f"/v1/transcripts/{made['id']}"
    assert call(app, "GET", path, ada).status_code == 200
    assert call(app, "GET", path, bob).status_code == 403
    assert call(app, "POST", f"{path}/record/upload", bob).status_code == 403


@pytest.mark.parametrize(("public", "seen"), [("true", 2), ("false", 0)])
def test_without_sign_in_all_is_seen_where_all_is_public(people: People, public: str, seen: int) -> None:
    owner = server.application(Environment(JWT))
    theirs = call(owner, "POST", "/v1/transcripts", bearer(signed()), {"name": "Meeting"}).json()
    app = server.application(Environment({"AUTH_BACKEND": "none", "PUBLIC_MODE": public}))
    made = call(app, "POST", "/v1/transcripts", {}, {"name": "Anonymous"}).json()
    assert len(call(app, "GET", "/v1/transcripts", {}).json()["items"]) == seen
    assert call(app, "GET", f"/v1/transcripts/{made['id']}", {}).status_code == 200
    assert call(app, "GET", f"/v1/transcripts/{theirs['id']}", {}).status_code == 403


def test_the_administrator_stays_one_person_with_his_keys_and_transcripts_when_the_mode_is_switched(
    people: People,
) -> None:
    app = server.application(Environment(PASSWORD))
    token = call(app, "POST", "/v1/auth/login", {}, {"email": ADMIN, "password": "right"}).json()["access_token"]
    made = call(app, "POST", "/v1/transcripts", bearer(token), {"name": "Meeting"}).json()
    key = call(app, "POST", "/v1/user/api-keys", bearer(token), {"name": "script"}).json()
    assert (key["user_id"], key["name"]) == ("row-admin", "script")
    switched = server.application(Environment(JWT))
    admin = bearer(signed(sub=f"local:{ADMIN}", email=ADMIN))
    for headers in (admin, {"X-API-Key": key["key"]}, admin | {"X-API-Key": key["key"]}):
        listed = call(switched, "GET", "/v1/transcripts", headers).json()["items"]
        assert [item["id"] for item in listed] == [made["id"]]
    # What the server signed itself is nothing to a server that trusts a provider.
    assert call(switched, "GET", "/v1/transcripts", bearer(token)).status_code == 401
    assert call(switched, "GET", "/v1/me", {"X-API-Key": key["key"]}).json() == {"sub": "row-admin", "email": None}


def test_api_keys_are_kept_hashed_listed_without_the_key_and_deleted_by_their_owner(people: People) -> None:
    app = server.application(Environment(JWT))
    ada, bob = bearer(signed()), bearer(signed(sub="other-id"))
    made = call(app, "POST", "/v1/user/api-keys", ada, {}).json()
    assert made["name"] is None
    kept_hash, _ = people.keys[0]
    assert kept_hash == hmac.new(SECRET.encode(), made["key"].encode(), hashlib.sha256).hexdigest()
    listed = call(app, "GET", "/v1/user/api-keys", ada).json()
    assert [set(key) for key in listed] == [{"id", "user_id", "name", "created_at"}]
    assert call(app, "GET", "/v1/user/api-keys", bob).json() == []
    assert call(app, "POST", "/v1/user/api-keys", ada, {"name": ""}).status_code == 422
    path = f"/v1/user/api-keys/{made['id']}"
    assert call(app, "DELETE", path, bob).json() == {"status": "ok"}
    assert call(app, "GET", "/v1/me", {"X-API-Key": made["key"]}).status_code == 200
    assert call(app, "DELETE", path, ada).json() == {"status": "ok"}
    assert call(app, "GET", "/v1/me", {"X-API-Key": made["key"]}).status_code == 401
    assert call(app, "POST", "/v1/user/api-keys", {}, {}).status_code == 401


def test_a_token_and_a_key_of_two_people_are_refused(people: People) -> None:
    app = server.application(Environment(JWT))
    key = call(app, "POST", "/v1/user/api-keys", bearer(signed()), {}).json()["key"]
    both = bearer(signed(sub="other-id")) | {"X-API-Key": key}
    # Upstream has no handler for what it raises here, except with its own tokens.
    assert call(app, "GET", "/v1/transcripts", both).status_code == 500
    own = server.application(Environment(PASSWORD))
    token = call(own, "POST", "/v1/auth/login", {}, {"email": ADMIN, "password": "right"}).json()["access_token"]
    assert call(own, "GET", "/v1/transcripts", bearer(token) | {"X-API-Key": key}).status_code == 401


def test_a_role_that_reads_the_key_does_not_start_without_it(keys: Path) -> None:
    missing = Environment(JWT | {"AUTH_JWT_PUBLIC_KEY": "missing.pem"})
    starts: list[Callable[[], Any]] = [
        lambda: server.role(missing),
        lambda: worker.worker_role(missing),
        lambda: worker.hatchet_worker_role("hatchet-worker-llm", missing),
        lambda: worker.hatchet_worker_role("hatchet-worker-cpu", missing),
    ]
    for start in starts:
        with pytest.raises(WiringError, match=r"AUTH_JWT_PUBLIC_KEY: .*missing\.pem cannot be read: No such file"):
            start()
    # Named by its whole path it is not found: the name is put behind the folder's.
    whole = str(keys / "public.pem")
    with pytest.raises(WiringError, match="cannot be read"):
        server.role(Environment(JWT | {"AUTH_JWT_PUBLIC_KEY": whole}))


def test_the_key_is_read_once_at_the_start(people: People, keys: Path) -> None:
    app = server.application(Environment(JWT))
    (keys / "public.pem").write_text(public_pem(FOREIGN))
    assert call(app, "GET", "/v1/me", bearer(signed())).status_code == 200
    assert call(app, "GET", "/v1/me", bearer(signed(FOREIGN))).status_code == 401


@pytest.mark.parametrize(
    ("content", "status"), [(certificate_pem(SIGNING), 401), (private_pem(SIGNING), 500), ("not a key", 401)]
)
def test_what_lies_in_the_key_s_place_shows_only_at_the_first_token(
    people: People, keys: Path, content: str, status: int
) -> None:
    # As upstream, with the same library: nothing is said at the start. The check names all of them.
    (keys / "public.pem").write_text(content)
    app = server.application(Environment(JWT))
    assert call(app, "GET", "/v1/me", bearer(signed())).status_code == status


def test_a_sign_in_mode_nobody_knows_does_not_start() -> None:
    with pytest.raises(WiringError, match="AUTH_BACKEND='oauth' is not known"):
        server.role(Environment({"AUTH_BACKEND": "oauth"}))


@pytest.mark.parametrize(
    ("content", "changes", "reason"),
    [
        (None, {}, "cannot be read"),
        ("not a key", {}, "is no public key in PEM"),
        (certificate_pem(SIGNING), {}, "is a certificate; it must be a public key"),
        (private_pem(SIGNING), {}, "is a private key; it must be a public key"),
        (public_pem(CURVE), {}, "is an EC key; RS256 takes an RSA key"),
        (public_pem(SIGNING), {"AUTH_JWT_ALGORITHM": "HS256"}, "AUTH_JWT_ALGORITHM='HS256': only RS256"),
        (public_pem(SIGNING), {"AUTH_JWT_AUDIENCE": ""}, "AUTH_JWT_AUDIENCE is not set"),
        (public_pem(SIGNING), {"AUTH_JWT_PUBLIC_KEY": ""}, "the key of Reflector's makers would be trusted"),
    ],
    ids=["missing", "garbage", "certificate", "private", "curve", "algorithm", "audience", "default"],
)
def test_a_key_that_cannot_verify_is_named(
    keys: Path, content: str | None, changes: dict[str, str], reason: str
) -> None:
    (keys / "public.pem").unlink() if content is None else (keys / "public.pem").write_text(content)
    with pytest.raises(WiringError, match=reason):
        accounts.check_key(Environment(JWT | changes))


def test_a_key_that_can_verify_is_described(keys: Path) -> None:
    described = accounts.check_key(Environment(JWT))
    assert described == {"algorithm": "RS256", "key": "public.pem", "bits": 2048, "audience": AUDIENCE}
