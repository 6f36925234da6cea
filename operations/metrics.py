"""The state of a stack as a text file for the textfile collector of Prometheus' node_exporter."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from operations.inventory import Certificate
from operations.status import Status

_MODE: Final = 0o644
"""The collector runs as another user."""


def text(status: Status) -> str:
    """Return the metrics in Prometheus' text format (version 0.0.4): names in base units, one value a line."""
    return "".join(f"{line}\n" for line in _lines(status))


def write(path: Path, status: Status) -> None:
    """Write the file in one move, so that the collector never reads half of it.

    Raises: OSError.
    """
    # The collector takes every *.prom in its folder.
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".new")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text(status))
        Path(draft).chmod(_MODE)
        Path(draft).replace(path)
    finally:
        Path(draft).unlink(missing_ok=True)


def certificates_text(stack: str, at: datetime, certificates: Sequence[Certificate]) -> str:
    """Return the metrics of certificates alone."""
    return "".join(f"{line}\n" for line in _certificate_lines(stack, at, certificates))


def _certificate_lines(stack_name: str, at: datetime, listed: Sequence[Certificate]) -> Iterator[str]:
    stack = {"stack": stack_name}
    certificates = [(one, {**stack, "name": one.name, "kind": one.kind, "source": one.source})
                    for one in listed if not one.is_list]  # fmt: skip
    yield from _metric(
        "reflector_certificate_not_after_timestamp_seconds",
        "End of a certificate or of an authority above it, whichever comes first.",
        [(labels, one.chain_expires.timestamp()) for one, labels in certificates if one.chain_expires],
    )
    yield from _metric(
        "reflector_certificate_renew_at_timestamp_seconds",
        "From when on a renewal issues the certificate anew.",
        [(labels, one.renew_at.timestamp()) for one, labels in certificates if one.renew_at],
    )
    yield from _metric(
        "reflector_certificate_level",
        "0 fine, 1 near its end, 2 very near or past it.",
        [(labels, one.level(at)) for one, labels in certificates],
    )
    yield from _metric(
        "reflector_certificate_info",
        "1 for each certificate, with what identifies it.",
        [
            (
                {
                    **labels,
                    "certificate": one.registered,
                    "authority": one.authority,
                    "generation": one.generation,
                    "key": one.key,
                    "serial": one.serial,
                    "sha256": one.sha256,
                },
                1,
            )
            for one, labels in certificates
            if one.sha256
        ],
    )
    yield from _list_lines(stack, at, [one for one in listed if one.is_list])


def _list_lines(stack: Mapping[str, str], at: datetime, listed: Sequence[Certificate]) -> Iterator[str]:
    # Names of their own: an alert on the ends of certificates, weeks before, would never be quiet.
    lists = [
        (one, {**stack, "name": one.name, "authority": one.authority, "generation": one.generation}) for one in listed
    ]
    yield from _metric(
        "reflector_crl_next_update_timestamp_seconds",
        "End of a revocation list: whoever checks it refuses everybody after that.",
        [(labels, one.expires.timestamp()) for one, labels in lists if one.expires],
    )
    yield from _metric(
        "reflector_crl_this_update_timestamp_seconds",
        "When a revocation list was made.",
        [(labels, one.starts.timestamp()) for one, labels in lists if one.starts],
    )
    yield from _metric(
        "reflector_crl_number",
        "Number of a revocation list, greater than that of each before it.",
        [(labels, one.number) for one, labels in lists if one.number is not None],
    )
    yield from _metric(
        "reflector_crl_revoked_certificates",
        "How many certificates a revocation list holds.",
        [(labels, len(one.revoked)) for one, labels in lists],
    )
    yield from _metric(
        "reflector_crl_level",
        "0 fine, 1 near its next update, 2 very near or past it.",
        [(labels, one.level(at)) for one, labels in lists],
    )


def _lines(status: Status) -> Iterator[str]:
    stack = {"stack": status.stack}
    yield from _certificate_lines(status.stack, status.at, status.certificates)
    yield from _metric(
        "reflector_service_up",
        "1 for a container that runs and is not unhealthy, as Docker says.",
        [({**stack, "service": one.name}, int(one.works)) for one in status.services],
    )
    yield from _metric(
        "reflector_volume_size_bytes",
        "Size of a volume, as Docker rounds it.",
        [({**stack, "volume": name}, size) for name, size in status.volumes.items() if size is not None],
    )
    uploads = status.unfinished_uploads
    yield from _metric(
        "reflector_unfinished_uploads",
        "Uploads to the object store that were begun and not ended.",
        [] if uploads is None else [(stack, uploads.count)],
    )
    yield from _metric(
        "reflector_unfinished_upload_size_bytes",
        "What unfinished uploads take.",
        [] if uploads is None else [(stack, uploads.bytes)],
    )
    renewal = status.renewal
    yield from _metric(
        "reflector_renewal_timestamp_seconds",
        "Time of the last renewal from this machine, whatever it did.",
        [] if renewal is None else [(stack, renewal.at.timestamp())],
    )
    yield from _metric(
        "reflector_renewal_success",
        "1 if the last renewal ended well, with nothing due or all of it renewed.",
        [] if renewal is None else [(stack, int(renewal.succeeded))],
    )
    yield from _metric("reflector_status_level", "0 fine, 1 warning, 2 critical.", [(stack, status.level)])
    yield from _metric("reflector_status_timestamp_seconds", "When this was written.", [(stack, status.at.timestamp())])


def _metric(name: str, help_text: str, values: list[tuple[Mapping[str, str], float]]) -> Iterator[str]:
    if not values:
        return
    yield f"# HELP {name} {help_text}"
    yield f"# TYPE {name} gauge"
    for labels, value in values:
        written = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{{{written}}} {value:.0f}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
