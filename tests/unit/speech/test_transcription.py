"""The speech service: it trusts our roots, keeps its models, and has a token only where it is given one."""

from components.speech.transcription import Transcription
from testing import building

BUILT = building.built("Transcription")
CONTAINER = BUILT.named("it-container")


def test_the_speech_service_trusts_our_roots_and_keeps_its_models() -> None:
    assert [upload["file"] for upload in CONTAINER.plain("uploads")] == [
        "/usr/local/share/ca-certificates/custom-ca.crt"
    ]
    assert building.environment_of(CONTAINER)["HF_HUB_DISABLE_TELEMETRY"] == "1", "who fetches models reports nothing"
    assert building.environment_of(CONTAINER)["SSL_CERT_FILE"] == "/etc/ssl/certs/ca-certificates.crt"
    assert [mount["containerPath"] for mount in CONTAINER.plain("volumes")] == ["/root/.cache"]


def test_a_hugging_face_token_becomes_secret_on_arrival() -> None:
    assert CONTAINER.is_secret("envs")
    assert building.environment_of(CONTAINER)["HF_TOKEN"] == building.HF_TOKEN


def test_without_a_hugging_face_token_there_is_no_variable_for_it() -> None:
    built = building.build(lambda near: Transcription("it", building.transcription_args(near, hf_token=None)))
    assert "HF_TOKEN" not in building.environment_of(built.named("it-container"))


def test_an_image_that_can_do_several_things_is_told_which() -> None:
    assert CONTAINER.plain("command") == ["start", "speech"]


def test_gpus_are_passed_on_only_where_there_are_any() -> None:
    built = building.build(lambda near: Transcription("it", building.transcription_args(near, gpus="all")))
    assert built.named("it-container").plain("gpus") == "all"
    assert "gpus" not in CONTAINER.inputs


def test_it_is_handed_over_by_its_address_without_a_key() -> None:
    speech = BUILT.component.speech
    assert speech.url == "http://transcription:8000"
    assert speech.api_key is None, "upstream's translation client cannot send one"
    assert [service.name for service in speech.services] == ["transcription"]
    assert list(speech.ready) == [speech.services[0].container]
