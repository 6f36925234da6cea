"""The environment of Reflector's own containers, variable by variable as the software reads it.

Values may be anything the caller composes (text here, outputs in a component): nothing is looked into. A feature that
is off leaves no variable behind.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

SERVER_PORT: Final = 1250
WEB_PORT: Final = 3000
API_PATH: Final = "/v1"
WORKER_HEALTH_PORT: Final = 8001  # the Hatchet SDK's default

QUIET_MODELS: Final = {"HF_HUB_DISABLE_TELEMETRY": "1"}
"""For whoever fetches speech models from Hugging Face: its library reports nothing about who fetches them."""
_FILE_TIMEOUT_SECONDS: Final = "1150"
"""For one file at a speech service, whatever its length. Hatchet ends the step at 1200 s (TIMEOUT_HEAVY upstream); what
takes too long should end before that, by this and with the service's name."""


def speech(url: str, api_key: T | None, whisper_model: str, hf_token: T | None) -> dict[str, T | str]:
    """Return what tells the backend where speech becomes text; an empty `url` means inside the backend."""
    environment: dict[str, T | str] = {}
    if hf_token is not None:
        environment["HF_TOKEN"] = hf_token
    if not url:
        return environment | {
            "TRANSCRIPT_BACKEND": "whisper",
            "WHISPER_CHUNK_MODEL": whisper_model,
            "WHISPER_FILE_MODEL": whisper_model,
            "DIARIZATION_BACKEND": "pyannote",
            "TRANSLATION_BACKEND": "marian",
            "PADDING_BACKEND": "pyav",
            "MIXDOWN_BACKEND": "pyav",
            **QUIET_MODELS,
        }
    environment |= {
        "TRANSCRIPT_BACKEND": "modal",
        "TRANSCRIPT_URL": url,
        "DIARIZATION_BACKEND": "modal",
        "DIARIZATION_URL": url,
        "PADDING_BACKEND": "modal",
        "PADDING_URL": url,
        "MIXDOWN_BACKEND": "modal",
        "MIXDOWN_URL": url,
        # Only the client of a service reads them.
        "TRANSCRIPT_FILE_TIMEOUT": _FILE_TIMEOUT_SECONDS,
        "DIARIZATION_FILE_TIMEOUT": _FILE_TIMEOUT_SECONDS,
    }
    if api_key is None:
        return environment | {
            "TRANSLATION_BACKEND": "modal",
            "TRANSLATE_URL": url,
            # The live path goes through the OpenAI client, which refuses to start without a key.
            "TRANSCRIPT_MODAL_API_KEY": "not-needed",
        }
    # The translation client looks for its key under a name no setting declares, so it never sends one; against a
    # service that wants a key it could only fail.
    return environment | {
        "TRANSLATION_BACKEND": "passthrough",
        "TRANSCRIPT_MODAL_API_KEY": api_key,
        "DIARIZATION_MODAL_API_KEY": api_key,
        "PADDING_MODAL_API_KEY": api_key,
        "MIXDOWN_MODAL_API_KEY": api_key,
    }


def language_model(url: str, model: str, api_key: T, context_tokens: int) -> dict[str, T | str]:
    """Return what tells the backend which model to ask; without any of it, it would ask api.openai.com."""
    return {
        "LLM_URL": url,
        "LLM_MODEL": model,
        "LLM_API_KEY": api_key,
        "LLM_CONTEXT_WINDOW": str(context_tokens),
    }


def storage(*, endpoint: T, region: T, bucket: T, access_key_id: T, secret_access_key: T) -> dict[str, T | str]:
    """Return what tells the backend where objects are.

    There is one endpoint setting, and presigned URLs carry it: it has to be the one everybody can reach. An empty text
    means AWS itself.
    """
    environment: dict[str, T | str] = {
        "TRANSCRIPT_STORAGE_BACKEND": "aws",
        "TRANSCRIPT_STORAGE_AWS_BUCKET_NAME": bucket,
        "TRANSCRIPT_STORAGE_AWS_REGION": region,
        "TRANSCRIPT_STORAGE_AWS_ACCESS_KEY_ID": access_key_id,
        "TRANSCRIPT_STORAGE_AWS_SECRET_ACCESS_KEY": secret_access_key,
    }
    if endpoint != "":
        environment |= {
            "TRANSCRIPT_STORAGE_AWS_ENDPOINT_URL": endpoint,
            # The SDK would send a checksum behind each upload, which only AWS is sure to know: others refuse it.
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        }
    return environment


def workflow(server_url: str, host_port: str, token: T) -> dict[str, T | str]:
    """Return what lets the backend reach Hatchet, and its workers say that they are alive."""
    return {
        "HATCHET_CLIENT_SERVER_URL": server_url,
        "HATCHET_CLIENT_HOST_PORT": host_port,
        "HATCHET_CLIENT_TLS_STRATEGY": "none",
        "HATCHET_CLIENT_TOKEN": token,
        "HATCHET_CLIENT_WORKER_HEALTHCHECK_ENABLED": "true",
        "HATCHET_CLIENT_WORKER_HEALTHCHECK_PORT": str(WORKER_HEALTH_PORT),
        "HATCHET_CLIENT_WORKER_HEALTHCHECK_BIND_ADDRESS": "127.0.0.1",
    }


def backend(
    *, url: str, origins: Sequence[str], redis_host: str, redis_port: int, broker_url: str, secret_key: T
) -> dict[str, T | str]:
    """Return what every backend role reads.

    `url` is the public base URL: links in e-mails, webhooks and calendars are made from it, and browsers call it, from
    pages of `origins`.
    """
    return {
        "REDIS_HOST": redis_host,
        "REDIS_PORT": str(redis_port),
        "CELERY_BROKER_URL": broker_url,
        "CELERY_RESULT_BACKEND": broker_url,
        "CELERY_BEAT_POLL_INTERVAL": "300",
        "SECRET_KEY": secret_key,
        "BASE_URL": url,
        "UI_BASE_URL": url,
        "CORS_ORIGIN": ",".join(origins),
        "CORS_ALLOW_CREDENTIALS": "true",
    }


def behind_edge(networks: T) -> dict[str, T | str]:
    """Return what makes the server believe who is in `networks` about a request: its scheme, and who has sent it.

    `networks` are ranges of addresses with commas between. Uvicorn takes them so since 0.31; without any it believes
    its own machine alone, redirects to http:// and counts all failed logins as one client's.
    """
    return {"FORWARDED_ALLOW_IPS": networks}


def password_backend() -> dict[str, str]:
    """Return what every backend role reads of sign-in with a password."""
    return {"AUTH_BACKEND": "password", "PUBLIC_MODE": "false"}


def password_web() -> dict[str, str]:
    """Return what the web frontend reads of sign-in with a password."""
    return {"AUTH_PROVIDER": "credentials", "FEATURE_REQUIRE_LOGIN": "true"}


JWT_KEY: Final = "identity-provider.pem"
"""What the backend calls the key it verifies tokens with."""
JWT_KEY_FILE: Final = f"/app/reflector/auth/jwt/keys/{JWT_KEY}"
"""Where it looks for that; it knows no other folder (reflector/auth/auth_jwt.py, v0.45.0)."""


def jwt_backend(audience: str) -> dict[str, str]:
    """Return what every backend role reads where somebody else says who somebody is; it wants JWT_KEY_FILE."""
    return {
        "AUTH_BACKEND": "jwt",
        "PUBLIC_MODE": "false",
        "AUTH_JWT_ALGORITHM": "RS256",
        "AUTH_JWT_PUBLIC_KEY": JWT_KEY,
        "AUTH_JWT_AUDIENCE": audience,
    }


def provider_web(*, issuer: str, token_url: str, client_id: str, client_secret: T) -> dict[str, T | str]:
    """Return what the web frontend reads where a provider of OpenID Connect says who somebody is.

    It has one kind of provider, and calls it authentik. What it calls below `issuer` it adds with a slash.
    """
    return {
        "AUTH_PROVIDER": "authentik",
        "FEATURE_REQUIRE_LOGIN": "true",
        "AUTHENTIK_ISSUER": issuer.rstrip("/"),
        "AUTHENTIK_REFRESH_TOKEN_URL": token_url,
        "AUTHENTIK_CLIENT_ID": client_id,
        "AUTHENTIK_CLIENT_SECRET": client_secret,
    }


def public_backend(retention_days: int) -> dict[str, str]:
    """Return what every backend role reads where nobody signs in."""
    return {"AUTH_BACKEND": "none", "PUBLIC_MODE": "true", "PUBLIC_DATA_RETENTION_DAYS": str(retention_days)}


def public_web() -> dict[str, str]:
    """Return what the web frontend reads where nobody signs in."""
    return {"FEATURE_REQUIRE_LOGIN": "false"}


def web(*, url: str, server_url: str, kv_url: str, nextauth_secret: T) -> dict[str, T | str]:
    """Return what the web frontend reads; all of it at run time."""
    return {
        "NODE_ENV": "production",
        "SITE_URL": url,
        "API_URL": url,
        "WEBSOCKET_URL": "auto",
        "SERVER_API_URL": server_url,
        "KV_URL": kv_url,
        "KV_USE_TLS": "false",
        "NEXTAUTH_URL": url,
        "NEXTAUTH_URL_INTERNAL": f"http://localhost:{WEB_PORT}",
        "NEXTAUTH_SECRET": nextauth_secret,
        "FEATURE_ROOMS": "false",
    }


def merged(*parts: Mapping[str, T]) -> dict[str, T]:
    """Return the union of `parts`.

    Raises: ValueError if two of them set the same variable, which would hide one of the values.
    """
    environment: dict[str, T] = {}
    for part in parts:
        both = environment.keys() & part.keys()
        if both:
            raise ValueError(f"variables set twice: {', '.join(sorted(both))}")
        environment |= part
    return environment
