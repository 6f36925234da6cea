"""Modes are switched off and on again on a running stack: off means off, and on finds what was there."""

import ssl

import pytest

from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker

ELSEWHERE = {
    "language_model": {"mode": "external", "url": "http://192.0.2.10:8000/v1", "model": "some-model"},
    "speech": {"mode": "hosted", "url": "http://192.0.2.10:8001"},
    "sign_in": {"mode": "public", "everybody_reads_everything": True},
}


def test_every_mode_can_be_switched_off_and_on_again_and_finds_its_data(deployment: Stack) -> None:
    traces = deployment.leave_traces()
    before, volumes = deployment.services, sorted(deployment.host.ids("volume", deployment.prefix))
    password = deployment.outputs()["admin_password"]
    kept = {f"{deployment.prefix}-{name}" for name in ("garage-data", "garage-meta", "ollama", "transcription")}
    file = deployment.checkout.stack_file(deployment.name)
    content = file.read_text(encoding="utf-8")
    try:
        switched_off(deployment)
        said_to_be_kept = volumes_said_to_be_kept(deployment.up())
        assert deployment.containers().keys() == before - {"ollama", "transcription", "garage"}
        assert kept <= said_to_be_kept
        assert set(deployment.host.ids("volume", deployment.prefix)) >= set(volumes)
        assert deployment.planned(refresh=True) == {}
        assert "admin_password" not in deployment.outputs()
        with pytest.raises(ssl.SSLCertVerificationError, match="not valid for 's3"):
            deployment.edge.ask("GET", "/", name=f"s3.{deployment.edge.domain}")
    finally:
        file.write_text(content, encoding="utf-8")

    said_to_be_kept = volumes_said_to_be_kept(deployment.up())
    deployment.wait_until_healthy()
    assert not kept & said_to_be_kept
    assert deployment.containers().keys() == before
    assert sorted(deployment.host.ids("volume", deployment.prefix)) == volumes
    assert deployment.outputs()["admin_password"] != password, "made anew, and taken by the one it is for"
    assert traces.are_found_in(deployment)
    assert deployment.broken_wires() == {}
    assert deployment.planned(refresh=True) == {}


def volumes_said_to_be_kept(output: str) -> set[str]:
    """Return what an `up` says it keeps for modes that are off; those of other tests' modes may be among them."""
    _, found, rest = output.rpartition("Kept for modes that are switched off, with all that is in them: ")
    return set(rest.splitlines()[0].split(", ")) if found else set()


def switched_off(stack: Stack) -> None:
    """Set every concern to another mode than it has."""
    # A store that nobody answers for: the roles are healthy without it, and nothing is written meanwhile.
    stack.pulumi("config", "set", "--secret", "--path", "storage.secret_access_key", "a-key-nobody-uses").succeeded()
    stack.configure(
        {
            **ELSEWHERE,
            "storage.mode": "external",
            "storage.endpoint": "http://192.0.2.10:9000",
            "storage.region": "nowhere",
            "storage.access_key_id": "unused",
        },
        without=["storage.capacity_gib", "storage.memory_mib"],
    )
