"""The probe reads variables with Reflector's names, defaults and refusals."""

import pytest
from probe.environment import Database, Environment, LanguageModel, Redis, Storage, speech_service
from probe.wiring import WiringError

STORAGE = {
    "TRANSCRIPT_STORAGE_BACKEND": "aws",
    "TRANSCRIPT_STORAGE_AWS_BUCKET_NAME": "reflector-media",
    "TRANSCRIPT_STORAGE_AWS_REGION": "garage",
    "TRANSCRIPT_STORAGE_AWS_ACCESS_KEY_ID": "GK0123",
    "TRANSCRIPT_STORAGE_AWS_SECRET_ACCESS_KEY": "secret",
    "TRANSCRIPT_STORAGE_AWS_ENDPOINT_URL": "https://s3.example.org",
}


def test_flags_take_the_words_of_pydantic_and_go() -> None:
    env = Environment({"A": "t", "B": "False", "C": "yes", "D": ""})
    assert [env.flag(name, True) for name in "ABCD"] == [True, False, True, False]
    assert env.flag("UNSET", True) is True
    with pytest.raises(WiringError, match="A='maybe' is no boolean; allowed are true and false"):
        Environment({"A": "maybe"}).flag("A", False)


def test_numbers_keep_the_type_of_their_default() -> None:
    env = Environment({"PORT": "6380", "SECONDS": "1.5"})
    assert env.number("PORT", 6379) == 6380
    assert env.number("SECONDS", 300.0) == 1.5
    with pytest.raises(WiringError, match=r"SECONDS='1\.5' is no int"):
        env.number("SECONDS", 3)


@pytest.mark.parametrize(
    "value", ["", "reflector.example.org", "ftp://host", "https://", "http://host:0", "http://h:x"]
)
def test_a_url_must_be_one(value: str) -> None:
    with pytest.raises(WiringError, match="BASE_URL"):
        Environment({"BASE_URL": value}).url("BASE_URL")


@pytest.mark.parametrize("scheme", ["postgresql+asyncpg", "postgresql", "postgres"])
def test_a_database_url_loses_its_driver(scheme: str) -> None:
    assert (
        Database.from_url(f"{scheme}://u:p@postgres:5432/reflector").dsn == "postgresql://u:p@postgres:5432/reflector"
    )


def test_the_bounds_of_a_pool_are_not_postgresqls() -> None:
    url = "postgresql+asyncpg://u:p@postgres:5432/reflector?min_size=1&max_size=2"
    assert Database.from_url(url).dsn == "postgresql://u:p@postgres:5432/reflector"
    for options in ("max_size=0", "min_size=a", "sslmode=disable", "maxsize=2"):
        with pytest.raises(WiringError, match="DATABASE_URL"):
            Database.from_url(f"postgresql+asyncpg://u:p@postgres:5432/reflector?{options}")


@pytest.mark.parametrize(
    "url", ["mysql://u:p@h/d", "postgresql+psycopg://u:p@h/d", "postgresql+asyncpg://u:p@h", "nonsense"]
)
def test_another_database_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(WiringError, match="DATABASE_URL") as problem:
        Database.from_url(url.replace(":p@", ":hunter22@"))
    assert "hunter22" not in str(problem.value)


def test_redis_has_numbered_databases_and_no_password() -> None:
    redis = Redis.from_environment(Environment({"REDIS_HOST": "redis"}))
    assert (redis.url(0), redis.url(redis.cache_database)) == ("redis://redis:6379/0", "redis://redis:6379/2")


def test_a_bucket_may_carry_a_prefix() -> None:
    given = Storage.from_environment(
        Environment(STORAGE | {"TRANSCRIPT_STORAGE_AWS_BUCKET_NAME": "media/reflector/audio"})
    )
    assert (given.bucket, given.prefix) == ("media", "reflector/audio")


@pytest.mark.parametrize(
    "name", [name for name in STORAGE if not name.endswith(("ENDPOINT_URL", "BUCKET_NAME", "REGION"))]
)
def test_each_storage_variable_is_needed(name: str) -> None:
    with pytest.raises(WiringError, match=name):
        Storage.from_environment(Environment({key: value for key, value in STORAGE.items() if key != name}))


def test_without_an_endpoint_the_store_is_aws_itself() -> None:
    without = {key: value for key, value in STORAGE.items() if not key.endswith("ENDPOINT_URL")}
    assert Storage.from_environment(Environment(without)).endpoint_url is None


def test_a_model_needs_a_key() -> None:
    with pytest.raises(WiringError, match="LLM_API_KEY is not set"):
        LanguageModel.from_environment(Environment({"LLM_URL": "http://ollama:11435/v1", "LLM_MODEL": "tiny"}))


def speech(**values: str) -> Environment:
    urls = dict.fromkeys(
        ("TRANSCRIPT_URL", "DIARIZATION_URL", "TRANSLATE_URL", "PADDING_URL", "MIXDOWN_URL"), "http://t:8000"
    )
    return Environment({**urls, **values})


def test_defaults_run_in_process_except_diarization() -> None:
    env = speech()
    assert {name for name in ("transcript", "translation", "padding", "mixdown") if speech_service(env, name)} == set()
    assert speech_service(env, "diarization") is not None


@pytest.mark.parametrize("name", ["transcript", "diarization", "padding", "mixdown"])
def test_each_service_sends_its_own_key(name: str) -> None:
    prefix = name.upper()
    keys = {f"{other}_MODAL_API_KEY": f"key-{other}" for other in ("TRANSCRIPT", "DIARIZATION", "PADDING", "MIXDOWN")}
    service = speech_service(speech(**{f"{prefix}_BACKEND": "modal"}, **keys), name)
    assert service is not None
    assert service.headers == {"Authorization": f"Bearer key-{prefix}"}


def test_no_variable_makes_translation_send_a_key() -> None:
    env = speech(
        TRANSLATION_BACKEND="modal", TRANSLATE_MODAL_API_KEY="a", TRANSLATION_MODAL_API_KEY="b", MODAL_API_KEY="c"
    )
    service = speech_service(env, "translation")
    assert service is not None
    assert service.headers == {}


@pytest.mark.parametrize(("name", "expected"), [("padding", "shared"), ("mixdown", "shared"), ("diarization", None)])
def test_only_padding_and_mixdown_fall_back_to_the_shared_key(name: str, expected: str | None) -> None:
    service = speech_service(speech(**{f"{name.upper()}_BACKEND": "modal"}, MODAL_API_KEY="shared"), name)
    assert service is not None
    assert service.api_key == expected


def test_live_transcription_cannot_send_an_empty_key() -> None:
    with pytest.raises(WiringError, match="TRANSCRIPT_MODAL_API_KEY is empty"):
        speech_service(speech(TRANSCRIPT_BACKEND="modal", TRANSCRIPT_MODAL_API_KEY=""), "transcript")


def test_an_unknown_backend_names_what_is_allowed() -> None:
    with pytest.raises(WiringError, match="PADDING_BACKEND='ffmpeg' is not known; allowed are pyav, modal"):
        speech_service(speech(PADDING_BACKEND="ffmpeg"), "padding")
