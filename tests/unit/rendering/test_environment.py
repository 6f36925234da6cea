"""The variables of Reflector's own processes."""

import pytest

from rendering import environment


def test_speech_inside_the_backend_names_models_and_no_url() -> None:
    made = environment.speech("", None, "small", None)
    assert (made["TRANSCRIPT_BACKEND"], made["DIARIZATION_BACKEND"]) == ("whisper", "pyannote")
    assert made["WHISPER_FILE_MODEL"] == made["WHISPER_CHUNK_MODEL"] == "small"
    assert [name for name in made if name.endswith(("_URL", "_KEY"))] == []


def test_a_speech_service_without_a_key_does_everything() -> None:
    made = environment.speech("http://speech", None, "", None)
    for part in ("TRANSCRIPT", "DIARIZATION", "PADDING", "MIXDOWN"):
        assert (made[f"{part}_BACKEND"], made[f"{part}_URL"]) == ("modal", "http://speech"), part
    assert (made["TRANSLATION_BACKEND"], made["TRANSLATE_URL"]) == ("modal", "http://speech")
    keys = {name: value for name, value in made.items() if name.endswith("_KEY")}
    assert keys == {"TRANSCRIPT_MODAL_API_KEY": "not-needed"}, "the live path's client refuses to start without one"


def test_a_speech_service_with_a_key_does_no_translation() -> None:
    made = environment.speech("http://speech", "key", "", None)
    keys = {name for name, value in made.items() if value == "key"}
    assert keys == {f"{part}_MODAL_API_KEY" for part in ("TRANSCRIPT", "DIARIZATION", "PADDING", "MIXDOWN")}
    assert made["TRANSLATION_BACKEND"] == "passthrough", "its client never sends a key"
    assert "TRANSLATE_URL" not in made


@pytest.mark.parametrize("url", ["", "http://speech"])
def test_a_hugging_face_token_is_passed_on_only_if_there_is_one(url: str) -> None:
    assert environment.speech(url, None, "small", "token")["HF_TOKEN"] == "token"
    assert "HF_TOKEN" not in environment.speech(url, None, "small", None)


def test_a_time_out_stands_where_it_is_read() -> None:
    """Only a client of a speech service reads it, and Hatchet ends its step after 1200 seconds."""
    for key in (None, "key"):
        made = environment.speech("http://speech", key, "", None)
        assert made["TRANSCRIPT_FILE_TIMEOUT"] == made["DIARIZATION_FILE_TIMEOUT"] == "1150"
    assert [name for name in environment.speech("", None, "small", None) if "TIMEOUT" in name] == []


@pytest.mark.parametrize("url", ["", "http://speech"])
def test_what_nothing_reads_is_not_set(url: str) -> None:
    assert "DIARIZATION_ENABLED" not in environment.speech(url, None, "small", None)


def test_who_fetches_models_does_not_report_it() -> None:
    assert environment.speech("", None, "small", None)["HF_HUB_DISABLE_TELEMETRY"] == "1"


def test_a_language_model_is_four_variables() -> None:
    assert environment.language_model("http://m/v1", "m", "k", 4096) == {
        "LLM_URL": "http://m/v1", "LLM_MODEL": "m", "LLM_API_KEY": "k", "LLM_CONTEXT_WINDOW": "4096",
    }  # fmt: skip


@pytest.mark.parametrize(("endpoint", "expected"), [("https://s3.a", True), ("", False)])
def test_an_endpoint_is_named_only_where_it_is_not_aws(endpoint: str, expected: bool) -> None:
    made = environment.storage(endpoint=endpoint, region="r", bucket="b", access_key_id="i", secret_access_key="s")
    assert ("TRANSCRIPT_STORAGE_AWS_ENDPOINT_URL" in made) is expected
    assert made["TRANSCRIPT_STORAGE_AWS_BUCKET_NAME"] == "b"
    # The SDK's own way is checksums behind every upload, which stores that are not AWS refuse.
    for variable in ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"):
        assert made.get(variable) == ("when_required" if expected else None)


def test_hatchets_workers_answer_about_themselves_on_loopback() -> None:
    made = environment.workflow("http://h:8888", "h:7077", "t")
    assert made["HATCHET_CLIENT_WORKER_HEALTHCHECK_ENABLED"] == "true"
    assert made["HATCHET_CLIENT_WORKER_HEALTHCHECK_BIND_ADDRESS"] == "127.0.0.1"
    assert (made["HATCHET_CLIENT_TLS_STRATEGY"], made["HATCHET_CLIENT_TOKEN"]) == ("none", "t")


def test_a_port_is_text_and_a_broker_keeps_the_results_too() -> None:
    made = environment.backend(
        url="https://a", origins=["https://a", "https://a:8443"], redis_host="h", redis_port=6379, broker_url="redis://h:6379/1",
        secret_key="s",
    )  # fmt: skip
    assert (made["REDIS_HOST"], made["REDIS_PORT"]) == ("h", "6379")
    assert made["CELERY_BROKER_URL"] == made["CELERY_RESULT_BACKEND"] == "redis://h:6379/1"
    assert {made[name] for name in ("BASE_URL", "UI_BASE_URL")} == {"https://a"}
    assert made["CORS_ORIGIN"] == "https://a,https://a:8443"


def test_the_web_frontend_is_told_where_people_and_where_it_finds_the_server() -> None:
    made = environment.web(url="https://a", server_url="http://s:1", kv_url="redis://h:1", nextauth_secret="s")
    assert {made[name] for name in ("SITE_URL", "API_URL", "NEXTAUTH_URL")} == {"https://a"}
    assert (made["SERVER_API_URL"], made["KV_URL"]) == ("http://s:1", "redis://h:1")


def test_the_backend_is_public_exactly_where_nobody_logs_in() -> None:
    assert environment.password_backend() == {"AUTH_BACKEND": "password", "PUBLIC_MODE": "false"}
    assert environment.public_backend(30) == {
        "AUTH_BACKEND": "none", "PUBLIC_MODE": "true", "PUBLIC_DATA_RETENTION_DAYS": "30",
    }  # fmt: skip


def test_the_web_frontend_asks_for_a_login_exactly_where_there_is_one() -> None:
    assert environment.password_web() == {"AUTH_PROVIDER": "credentials", "FEATURE_REQUIRE_LOGIN": "true"}
    assert environment.public_web() == {"FEATURE_REQUIRE_LOGIN": "false"}


def test_a_variable_set_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="variables set twice: A, B"):
        environment.merged({"A": "1", "B": "1", "C": "1"}, {"B": "2", "A": "2"})
