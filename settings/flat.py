"""Settings as earlier releases had them, flat: where each of them went, and a stack file taken from there to here."""

from collections.abc import Mapping
from typing import Final

MOVED: Final[Mapping[str, str]] = {
    "docker_host": "hosts.main.address",
    "docker_certificates": "hosts.main.certificates",
    "minimum_free_disk_gib": "hosts.main.minimum_free_disk_gib",
    "image_references": "images.references",
    "domain": "edge.domain",
    "s3_domain": "storage.domain",
    "extra_names": "edge.extra_names",
    "bind_addresses": "edge.bind_addresses",
    "https_port": "edge.https_port",
    "http_port": "edge.http_port",
    "authentication": "sign_in.mode",
    "admin_email": "sign_in.admin_email",
    "transcription": "speech.mode",
    "transcription_url": "speech.url",
    "transcription_api_key": "speech.api_key",
    "transcription_gpus": "speech.gpus",
    "whisper_model": "speech.whisper_model",
    "hf_token": "speech.hf_token",
    "llm": "language_model.mode",
    "llm_model": "language_model.model",
    "llm_url": "language_model.url",
    "llm_api_key": "language_model.api_key",
    "llm_context_tokens": "language_model.context_tokens",
    "ollama_gpus": "language_model.gpus",
    "storage_bucket": "storage.bucket",
    "garage_capacity_gib": "storage.capacity_gib",
    "s3_region": "storage.region",
    "s3_endpoint": "storage.endpoint",
    "s3_access_key_id": "storage.access_key_id",
    "s3_secret_access_key": "storage.secret_access_key",
    "health_interval_seconds": "health.interval_seconds",
    "startup_limit_seconds": "health.startup_limit_seconds",
    "memory_mib": "the memory_mib of each service",
}
"""Key of an earlier release → where it is now."""
