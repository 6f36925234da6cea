"""What every backend role depends on, checked by using it the way Reflector does."""

import secrets
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from probe import accounts, database, language_model, redis_client, speech, users
from probe.edge import default_context, get_through_edge, http_client
from probe.engine import check_engine
from probe.environment import (
    DEFAULT_SECRET_KEY,
    SPEECH_BACKENDS,
    Database,
    Environment,
    LanguageModel,
    Redis,
    Storage,
    check_of,
    parse_url,
    speech_service,
)
from probe.passwords import MalformedHashError, parse_hash
from probe.storage import ObjectStorage
from probe.trust import bundle_check
from probe.wiring import Check, WiringError

DEFAULT_DATABASE_URL = "postgresql+asyncpg://reflector:reflector@localhost:5432/reflector"
DEFAULT_BROKER_URL = "redis://localhost:6379/1"
DEFAULT_UI_BASE_URL = "http://localhost:3000"
DEFAULT_BASE_URL = "http://localhost:1250"
"""Defaults of reflector/settings.py, v0.45.0."""

LLM_SECONDS = 30.0
"""Longest wait for a completion: the first one loads the model into memory, on a busy machine without a GPU."""


def settings(env: Environment) -> Database:
    """The database of a backend role."""
    return Database.from_url(env.required("DATABASE_URL", DEFAULT_DATABASE_URL))


def data_directory(env: Environment) -> Path:
    """Where uploads and waveforms go; relative paths start at the working directory."""
    return Path(env.required("DATA_DIR", "./data"))


def checks(role: str, env: Environment) -> list[Check]:
    """The checks of a backend role that processes recordings; beat has fewer, see ``beat_checks``."""
    speech_checks = [check_of(env, name, speech.CHECKS[name]) for name in SPEECH_BACKENDS if _is_remote(env, name)]
    return [
        *beat_checks(role, env),
        check_of(env, "redis", check_redis),
        check_of(env, "cache", check_cache),
        check_of(env, "data", partial(check_data, role=role)),
        check_of(env, "storage", check_storage),
        # Also where no variable of it is set: the real backend then asks somebody nobody chose.
        check_of(env, "llm", check_llm, seconds=LLM_SECONDS),
        *speech_checks,
        check_of(env, "hatchet", check_engine),
        check_of(env, "urls", check_urls),
        check_of(env, "auth", partial(check_auth, role=role)),
    ]


def beat_checks(role: str, env: Environment) -> list[Check]:
    """The checks every backend role shares, and all that beat has."""
    return [
        check_of(env, "database", partial(check_database, role=role)),
        check_of(env, "broker", check_broker),
        bundle_check(env),
    ]


async def warm(env: Environment) -> None:
    """Make what checks share, so that a cold start is not counted as a dependency's slowness."""
    default_context()
    # A wrong setting is for the check to report.
    with suppress(WiringError):
        await ObjectStorage(Storage.from_environment(env)).warm()


async def check_database(env: Environment, role: str) -> dict[str, Any]:
    """Connect, see the schema, write a row and read it back."""
    return await database.exercise(settings(env).dsn, role)


async def check_redis(env: Environment) -> dict[str, Any]:
    """Database 0: websockets, locks and sessions."""
    return await redis_client.exercise(Redis.from_environment(env).url(0))


async def check_cache(env: Environment) -> dict[str, Any]:
    """The cache's own database."""
    redis = Redis.from_environment(env)
    return {"database": redis.cache_database, **await redis_client.exercise(redis.url(redis.cache_database))}


async def check_broker(env: Environment) -> dict[str, Any]:
    """Celery's broker, and its result backend where that is another one."""
    broker = env.required("CELERY_BROKER_URL", DEFAULT_BROKER_URL)
    results = env.required("CELERY_RESULT_BACKEND", DEFAULT_BROKER_URL)
    for name, url in {"CELERY_BROKER_URL": broker, "CELERY_RESULT_BACKEND": results}.items():
        parse_url(name, url, ("redis", "rediss"))
    detail = await redis_client.exercise(broker)
    if results != broker:
        await redis_client.exercise(results)
    return {"database": urlsplit(broker).path.lstrip("/") or "0", **detail}


async def check_data(env: Environment, role: str) -> dict[str, Any]:
    """Write in the data folder, and find the server's marker there: the volume must be the same one."""
    folder = data_directory(env)
    scratch = folder / f".probe-{role}-{secrets.token_hex(4)}"
    try:
        scratch.write_text(role)
        scratch.unlink()
    except OSError as problem:
        raise WiringError(f"DATA_DIR {folder.resolve()} cannot be written: {problem.strerror}") from problem
    expected = await database.deployment_value(settings(env).dsn, "data_marker")
    marker = folder / database.DATA_MARKER
    if not marker.is_file() or marker.read_text() != expected:
        raise WiringError(f"DATA_DIR {folder.resolve()} is not the server's volume: its marker is missing or another")
    return {"path": str(folder.resolve())}


async def check_storage(env: Environment) -> dict[str, Any]:
    """Put, get, download by presigned URL with this process's trust, delete."""
    given = Storage.from_environment(env)
    store = ObjectStorage(given)
    content = secrets.token_bytes(1024)
    async with store.temporary(f"probe/{secrets.token_hex(8)}.bin", content) as key:
        if await store.get(key) != content:
            raise WiringError("storage: an object reads back different from what was written")
        url = await store.presign(key)
        async with http_client() as client:
            response = await client.get(url)
        if response.status_code != 200 or response.content != content:
            raise WiringError(f"storage: the presigned URL answered {response.status_code}: {response.text[:200]}")
    return {"endpoint": given.endpoint_url or "AWS", "bucket": given.bucket, "presigned_host": urlsplit(url).netloc}


async def check_llm(env: Environment) -> dict[str, Any]:
    """Ask the model as the pipeline does, with a tool it must call.

    Whether it calls it is told, not demanded: a stand-in model cannot, and its transcripts end in ``error``.
    """
    language_model.require_url(env)
    model = LanguageModel.from_environment(env)
    seconds = min(LLM_SECONDS - 1, env.number("LLM_REQUEST_TIMEOUT", language_model.DEFAULT_TIMEOUT_SECONDS))
    window = env.number("LLM_CONTEXT_WINDOW", 16_000)
    prompt = "Name the subject of this meeting in one word."
    answer = await language_model.ask(env, prompt, language_model.TITLE, seconds=seconds, max_tokens=8)
    if answer.arguments is None and not answer.text:
        raise WiringError(f"LLM_URL: model {model.model!r} gave an empty completion")
    return {
        "url": model.url,
        "model": model.model,
        "tool_call": answer.arguments is not None,
        "characters": len(answer.text),
        "context_window": window,
    }


async def check_urls(env: Environment) -> dict[str, Any]:
    """The public addresses agree with each other, and BASE_URL leads here through the edge."""
    ui = env.url("UI_BASE_URL", DEFAULT_UI_BASE_URL)
    base = env.url("BASE_URL", DEFAULT_BASE_URL)
    origins = env.required("CORS_ORIGIN", "*").split(",")
    for origin in origins:
        parts = parse_url("CORS_ORIGIN", origin) if origin != "*" else None
        if parts is not None and f"{parts.scheme}://{parts.netloc}" != origin:
            raise WiringError(f"CORS_ORIGIN: {origin!r} must be scheme://host[:port] without a path or a slash")
    if "*" in origins and env.flag("CORS_ALLOW_CREDENTIALS", False):
        raise WiringError("CORS_ORIGIN=* with CORS_ALLOW_CREDENTIALS=true: browsers refuse that pair")
    if "*" not in origins and f"{ui.scheme}://{ui.netloc}" not in origins:
        raise WiringError(f"CORS_ORIGIN lacks the origin of UI_BASE_URL, {ui.scheme}://{ui.netloc}")
    if base.scheme == "https" and ui.scheme != "https":
        raise WiringError("UI_BASE_URL is plain HTTP although BASE_URL is HTTPS (its default suits no deployment)")
    return await get_through_edge(env, "BASE_URL", "/health")


async def check_auth(env: Environment, role: str) -> dict[str, Any]:
    """Sign-in settings fit together, and SECRET_KEY is the one the server signs with."""
    backend = accounts.auth_backend(env)
    public = env.flag("PUBLIC_MODE", False)
    if public and backend != "none":
        raise WiringError(f"PUBLIC_MODE=true with AUTH_BACKEND={backend}: anonymous access, and a purge after 7 days")
    secret_key = env.required("SECRET_KEY", DEFAULT_SECRET_KEY)
    if secret_key == DEFAULT_SECRET_KEY or secret_key.startswith("changeme"):
        raise WiringError("SECRET_KEY is Reflector's public default")
    if await database.deployment_value(settings(env).dsn, "secret_key") != database.fingerprint(secret_key):
        raise WiringError("SECRET_KEY differs from the server's: tokens signed by one are refused by the other")
    if backend == "password" and role == "server":
        email = env.required("ADMIN_EMAIL")
        try:
            parse_hash(env.required("ADMIN_PASSWORD_HASH"))
        except MalformedHashError as problem:
            raise WiringError(f"ADMIN_PASSWORD_HASH: {problem}") from problem
        user = await users.find_user(settings(env).dsn, email)
        if user is None or user[1] != env.required("ADMIN_PASSWORD_HASH"):
            raise WiringError("ADMIN_PASSWORD_HASH is not what the database holds for ADMIN_EMAIL")
    if backend == "jwt":
        return {"backend": backend, "public_mode": public, **accounts.check_key(env)}
    return {"backend": backend, "public_mode": public}


def _is_remote(env: Environment, name: str) -> bool:
    try:
        return speech_service(env, name) is not None
    except WiringError:
        return True  # a wrong setting must show as a failed check, not as a missing one
