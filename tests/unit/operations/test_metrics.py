"""The text file for Prometheus: read back as its collector reads it."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from operations import metrics
from operations.inventory import Certificate
from operations.renewal import Attempt
from operations.status import ServiceStatus, Status, Uploads

NOW: Final = datetime(2026, 3, 1, tzinfo=UTC)
_LABEL: Final = r'[a-z_]+="(?:[^"\\\n]|\\["\\n])*"'
_SAMPLE: Final = re.compile(rf"(?P<name>[a-z_]+)\{{(?P<labels>{_LABEL}(?:,{_LABEL})*)\}} (?P<value>-?\d+)")


def status_of(stack: str = "test", **more: object) -> Status:
    """Return how a stack is."""
    leaf = Certificate(
        name="edge-certificate",
        kind="server",
        source="private",
        expires=datetime(2026, 4, 1, tzinfo=UTC),
        chain_expires=datetime(2026, 3, 31, tzinfo=UTC),
        renew_at=datetime(2026, 3, 2, tzinfo=UTC),
    )
    fields: dict[str, object] = {
        "certificates": [leaf, Certificate(name="unseen", kind="server", source="acme")],
        "services": [
            ServiceStatus(name="caddy", container="c", state="running", health="healthy"),
            ServiceStatus(name="redis", container="r", state="exited", health=""),
        ],
        "volumes": {"data": 5, "unknown": None},
        "unfinished_uploads": Uploads(count=2, bytes=7),
        "renewal": Attempt(at=NOW, succeeded=False, message="x"),
        **more,
    }
    return Status(stack=stack, at=NOW, **fields)  # type: ignore[arg-type]  # as above


def samples(text: str) -> dict[str, int]:
    """Return what a text holds, by name and labels; fail for what a collector would refuse."""
    assert text.endswith("\n")
    found: dict[str, int] = {}
    known: set[str] = set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert kind == "gauge"
            assert name not in known, "a metric is told of once"
            known.add(name)
        elif not line.startswith("# HELP "):
            match = _SAMPLE.fullmatch(line)
            assert match, line
            assert match["name"] in known, "its type comes first"
            key = f"{match['name']}{{{match['labels']}}}"
            assert key not in found
            found[key] = int(match["value"])
    return found


def test_every_end_service_and_size_is_there() -> None:
    found = samples(metrics.text(status_of()))
    leaf = 'stack="test",name="edge-certificate",kind="server",source="private"'
    assert found[f"reflector_certificate_not_after_timestamp_seconds{{{leaf}}}"] == 1774915200, "that of the chain"
    assert found[f"reflector_certificate_renew_at_timestamp_seconds{{{leaf}}}"] == 1772409600
    assert found[f"reflector_certificate_level{{{leaf}}}"] == 1
    assert not [key for key in found if "not_after" in key and "unseen" in key]
    assert found['reflector_service_up{stack="test",service="caddy"}'] == 1
    assert found['reflector_service_up{stack="test",service="redis"}'] == 0
    assert found['reflector_volume_size_bytes{stack="test",volume="data"}'] == 5
    assert not [key for key in found if "unknown" in key]
    assert found['reflector_unfinished_uploads{stack="test"}'] == 2
    assert found['reflector_unfinished_upload_size_bytes{stack="test"}'] == 7
    assert found['reflector_renewal_success{stack="test"}'] == 0
    assert found['reflector_status_level{stack="test"}'] == 2
    assert found['reflector_status_timestamp_seconds{stack="test"}'] == 1772323200


def test_a_revocation_list_is_told_of_apart_from_certificates() -> None:
    one = Certificate(
        name="authority-clients-1-revocations", kind="crl", source="private", authority="clients", generation="g1",
        expires=datetime(2026, 3, 3, tzinfo=UTC), chain_expires=datetime(2026, 3, 3, tzinfo=UTC),
        starts=datetime(2026, 2, 17, tzinfo=UTC), renew_at=datetime(2026, 2, 24, tzinfo=UTC), number=1771286400,
        revoked=("0A", "0B"),
    )  # fmt: skip
    found = samples(metrics.text(status_of(certificates=[one])))
    labels = 'stack="test",name="authority-clients-1-revocations",authority="clients",generation="g1"'
    assert {key: value for key, value in found.items() if labels in key} == {
        f"reflector_crl_next_update_timestamp_seconds{{{labels}}}": 1772496000,
        f"reflector_crl_this_update_timestamp_seconds{{{labels}}}": 1771286400,
        f"reflector_crl_number{{{labels}}}": 1771286400,
        f"reflector_crl_revoked_certificates{{{labels}}}": 2,
        f"reflector_crl_level{{{labels}}}": 1,
    }
    assert not [key for key in found if key.startswith("reflector_certificate")], "it lives for two weeks alone"


def test_what_is_not_known_is_not_told() -> None:
    text = metrics.text(status_of(services=[], volumes={}, unfinished_uploads=None, renewal=None))
    assert {key.partition("{")[0] for key in samples(text)} == {
        "reflector_certificate_not_after_timestamp_seconds",
        "reflector_certificate_renew_at_timestamp_seconds",
        "reflector_certificate_level",
        "reflector_status_level",
        "reflector_status_timestamp_seconds",
    }


def test_a_label_may_hold_anything() -> None:
    odd = 'a"b\\c\nd'
    certificate = Certificate(name=odd, kind="server", source="own")
    found = samples(metrics.text(status_of(certificates=[certificate])))
    assert any(r'name="a\"b\\c\nd"' in key for key in found)


def test_the_file_is_replaced_in_one_move_and_can_be_read_by_the_collector(tmp_path: Path) -> None:
    file = tmp_path / "reflector.prom"
    file.write_text("old")
    former = file.stat().st_ino
    metrics.write(file, status_of())
    assert file.stat().st_ino != former
    assert file.stat().st_mode & 0o777 == 0o644
    assert samples(file.read_text(encoding="utf-8"))
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        metrics.write(tmp_path / "nowhere" / "reflector.prom", status_of())
