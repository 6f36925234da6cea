"""Renewal without a person: certificates near their end are issued anew and delivered, revocation lists made anew, and
nothing else is touched.

The engine is told to look at the leaves and lists and what follows from them alone. That keeps every other resource as
it is, but what follows, the delivery to the edge, carries names and routes as well, and the stack's outputs are written
anew. So it is asked first what it would do, and nothing is done where a change nobody has deployed yet would go along.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from components.base.daemon import DaemonError
from operations import bulk, checks, healing, inventory, rekeying
from operations.inventory import Certificate, Level
from operations.rekeying import Aged
from operations.resource_types import CERTIFICATE_TYPE, LEAF_TYPE, SELF_SIGNED_TYPE, STACK_TYPE
from operations.served import NotServed, Place, edge_of, of_pem, places_of, served
from operations.stack import Stack
from operations.state import StateError
from pki.moments import rfc3339
from settings import PROJECT, Settings, SettingsError, masked, parse
from toolchain import ToolchainError

_IDLE: Final = frozenset({"same", "read", "refresh"})
_REPLACING: Final = frozenset({"replace", "create-replacement", "delete-replaced"})
_DUE: Final = frozenset({"readyForRenewal"})
"""What of a leaf the provider sees changed once it is inside its window."""
_KEY_OF_REQUEST: Final = frozenset({"privateKeyPem"})
_REQUEST_OF_LEAF: Final = frozenset({"certRequestPem"})
"""What changes with a new key."""
_DELIVERED: Final = frozenset({"stdin"})
"""What of a step changes with the certificate it delivers."""
_FOLLOWING: Final[Mapping[str, frozenset[str]]] = {
    # What a Swarm is commanded with, and what it keeps of certificates (components/providers).
    "pulumi:providers:docker": frozenset({"certMaterial", "keyMaterial"}),
    "random:index/randomId:RandomId": frozenset({"keepers"}),
    "docker:index/secret:Secret": frozenset({"data", "name"}),
}
"""Type → what else changes with a certificate, by an update or by another in its place."""
_MATERIAL: Final = ("certificate", "key", "kubeconfig", "secrets")
"""What of a container provider's output changes with one."""
_TIMES: Final = ("expires", "chain_expires", "renew_at", "details")
"""What of the inventory changes with a certificate."""
_SERVED_SECONDS: Final = 20
"""A renewed leaf is shown from the next handshake on; a busy edge is given this long."""
_LOG_BYTES: Final = 1024 * 1024
_DATE: Final = "%Y-%m-%d %H:%M UTC"


class NotRenewed(RuntimeError):
    """Something could not be renewed; the text is one line, with what to do."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """How the last renewal went."""

    at: datetime
    succeeded: bool
    message: str
    """What it ended with."""


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What there is to do."""

    certificates: Sequence[Certificate]
    due: Sequence[Certificate]
    """Inside their window."""
    undelivered: Sequence[Certificate]
    """Renewed before, and not what the edge shows."""
    leaves: Mapping[str, tuple[str, str]]
    """URN and fingerprint of each leaf that is ours, by its name in the inventory; of a list that of its clock, and
    none."""
    aged: Sequence[Aged] = ()
    """Those that get a new key with it."""
    unseen: str = ""
    """Why the edge could not be looked at; empty if it could."""


def folder_of(stack: Stack) -> Path:
    """Return where what concerns renewals is kept on this machine; `make clean` leaves it."""
    return stack.layout.renewal


def renew(stack: Stack, *, place: Place | None = None, dry_run: bool = False) -> int:
    """Renew what is due, say what was done, and return the exit status; with `dry_run` only say what would be."""
    settings: Settings | None = None
    try:
        settings = _settings(stack)
        message = _renew(stack, settings, place or edge_of(settings), dry_run=dry_run)
        status = 0
    except (NotRenewed, StateError, ToolchainError, DaemonError) as error:
        message, status = f"error: {' '.join(str(error).split())}", 1
    except subprocess.CalledProcessError:
        message, status = "error: the engine could not be asked about the stack; above is why", 1
    message = masked(message, settings.encrypted if settings is not None else ())
    if dry_run:
        print(message, file=sys.stderr if status else sys.stdout)
    else:
        _say(stack, message, failed=bool(status))
        _record(stack, Attempt(at=datetime.now(UTC), succeeded=not status, message=message))
    return status


def last_attempt(stack: Stack) -> Attempt | None:
    """Return how the last renewal from this machine went, None if there was none."""
    try:
        content = json.loads((folder_of(stack) / f"{stack.name}.json").read_text(encoding="utf-8"))
        return Attempt(
            at=datetime.fromisoformat(content["at"]),
            succeeded=bool(content["succeeded"]),
            message=str(content["message"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Attempt(at=datetime.now(UTC), succeeded=False, message=f"its record cannot be read: {error}")


def _settings(stack: Stack) -> Settings:
    try:
        return parse(checks.tree_of(stack), stack.name, PROJECT)
    except SettingsError as error:
        raise _refused(error) from None


def _refused(error: SettingsError) -> NotRenewed:
    return NotRenewed(f"nothing was renewed: {'; '.join(map(str, error.problems))}")


def _renew(stack: Stack, settings: Settings, place: Place, *, dry_run: bool) -> str:
    """Renew what is due, and return the last line to say.

    Raises: NotRenewed, StateError, ToolchainError, DaemonError or CalledProcessError.
    """
    plan = _plan(stack, settings, place)
    if not plan.due and not plan.undelivered:
        _see_what_nobody_renews(plan.certificates, settings, place)
        return "nothing is due" + (f" ({plan.unseen})" if plan.unseen else "")
    with stack.alone():
        # Whoever was at work until now may have renewed it.
        plan = _plan(stack, settings, place)
        todo = [*plan.due, *plan.undelivered]
        _guard(stack, settings)
        urns = [plan.leaves[one.name][0] for one in todo]
        pending = unexpected(_foreseen(stack, urns, plan.aged), urns, plan.aged)
        if pending:
            raise NotRenewed(
                f"nothing was renewed: the checkout or the stack file has changes that are not deployed and would go"
                f" along ({', '.join(pending)}); deploy them, which renews too: make up STACK={stack.name}"
            )
        if dry_run:
            return f"would be renewed: {', '.join(one.name for one in todo)}" if todo else "nothing is due"
        for key in plan.aged:
            _say(stack, masked(str(key), settings.encrypted))
        ahead = _ahead(plan)
        aged = () if ahead.is_much else plan.aged
        run = ("up", "--yes", "--skip-preview", "--suppress-outputs", *_targets(urns, aged))
        if urns and (bulk.make(stack, ahead) or stack.pulumi(*run)) != 0:
            raise NotRenewed(
                f"the engine could not renew {', '.join(one.name for one in todo)} (due since"
                f" {', '.join(_date(one.renew_at) for one in todo)}); above is why"
            )
        after = _plan(stack, settings, place, patience_seconds=_SERVED_SECONDS)
    _check(plan, after, place)
    for one in plan.due:
        new = next(other for other in after.certificates if other.name == one.name)
        text = f"renewed {one.name}: ended {_date(one.expires)}, ends {_date(new.expires)}"
        if one.is_list:
            text += f", {new.told}"
        else:
            text += f", served at {place}"
        _say(stack, masked(text, settings.encrypted))
    _see_what_nobody_renews(after.certificates, settings, place)
    return f"{len(plan.due)} renewed, {len(plan.undelivered)} delivered"


def _plan(stack: Stack, settings: Settings, place: Place, *, patience_seconds: float = 0) -> _Plan:
    """Return what there is to do, once the edge shows what it should or `patience_seconds` have passed."""
    resources = inventory.resources_of(stack)
    certificates = inventory.read(stack, settings, resources)
    if not certificates:
        raise NotRenewed(f"nothing was renewed: the stack {stack.name} is not deployed; make up STACK={stack.name}")
    now = datetime.now(UTC)
    leaves = dict(_leaves(certificates, resources))
    ours = [one for one in certificates if one.is_ours]
    lost = [one.name for one in ours if one.name not in leaves]
    if lost:
        raise NotRenewed(
            f"nothing was renewed: the state has nothing for {', '.join(lost)}; make it: make up STACK={stack.name}"
        )
    due = [one for one in ours if one.is_due(now)]
    undelivered: list[Certificate] = []
    unseen = ""
    deadline = time.monotonic() + patience_seconds
    for one in ours:
        if one in due:
            continue
        for where in places_of(one, settings, place):
            while True:
                try:
                    shown, unseen = served(where, one.server_name).fingerprint, ""
                except NotServed as error:
                    shown, unseen = "", str(error)
                if shown == leaves[one.name][1] or time.monotonic() >= deadline:
                    break
                time.sleep(0.5)
            if not unseen and shown != leaves[one.name][1] and one not in undelivered:
                undelivered.append(one)
    names = {one.name for one in due}
    aged = [one for one in rekeying.aged(settings, resources, now) if one.name in names]
    return _Plan(certificates=certificates, due=due, undelivered=undelivered, leaves=leaves, aged=aged, unseen=unseen)


def _leaves(
    certificates: Iterable[Certificate], resources: Iterable[healing.Resource]
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield URN and fingerprint of each certificate's leaf in the state: the one of its highest generation.

    A list has a clock, under its own name.
    What the leaf's own resource has is a template, which nobody is shown: what is shown is among the outputs of the
    component that it is a part of.
    """
    resources = list(resources)
    signed = healing.of_type(resources, LEAF_TYPE)
    components = {one["urn"]: one for one in healing.of_type(resources, CERTIFICATE_TYPE)}
    clocks = {one["urn"].rpartition("::")[2]: one["urn"] for one in healing.of_type(resources, SELF_SIGNED_TYPE)}
    for one in certificates:
        if one.is_list:
            if one.name in clocks:
                yield one.name, (clocks[one.name], "")
            continue
        pattern = re.compile(rf"::{re.escape(one.name)}-(\d+)-certificate$")
        found = [(int(match[1]), leaf) for leaf in signed if (match := pattern.search(leaf["urn"]))]
        if one.is_ours and found:
            _, leaf = max(found, key=lambda pair: pair[0])
            shown = components[leaf["parent"]]["outputs"]["certificate_pem"]
            yield one.name, (leaf["urn"], of_pem(shown).fingerprint)


def _guard(stack: Stack, settings: Settings) -> None:
    """See to what `make up` sees to before it runs the engine, and mend nothing but what a killed run has left."""
    checked = checks.check(stack)
    if checked.problems:
        raise _refused(SettingsError(checked.problems))
    edge = f"{settings.prefix}-caddy"
    for damage in checked.damage:
        if damage.name == edge:
            raise NotRenewed(f"nothing was renewed: {damage}; mend it: make up STACK={stack.name}")
    stack.ensure()
    stack.recover()


def _ahead(plan: _Plan) -> bulk.Wanted:
    """Return what is due, with new keys for what is aged."""
    aged = {one.leaf: one for one in plan.aged}
    leaves = [plan.leaves[one.name][0] for one in plan.due]
    return bulk.Wanted(
        certificates=[aged[leaf].made_anew if leaf in aged else [leaf] for leaf in leaves],
        replaced={one.key for one in plan.aged},
    )


def _targets(urns: Sequence[str], aged: Iterable[Aged]) -> list[str]:
    keys = [part for one in aged for part in ("--target-replace", one.key)]
    return [*bulk.targets(urns), *keys, "--target-dependents"]


def _foreseen(stack: Stack, urns: Sequence[str], aged: Sequence[Aged]) -> list[Mapping[str, Any]]:
    """Return the engine's events of what it would do for these leaves and what follows from them."""
    return stack.foreseen(*_targets(urns, aged)) if urns else []


def unexpected(events: Iterable[Mapping[str, Any]], leaves: Iterable[str], aged: Iterable[Aged] = ()) -> list[str]:
    """Return what the engine would do besides replacing `leaves`, or clocks of lists, and delivering them.

    The keys that are `aged` are replaced too. Each is as people call it.
    """
    expected = dict.fromkeys(leaves, _DUE)
    for one in aged:
        expected |= {one.key: frozenset(), one.request: _KEY_OF_REQUEST, one.leaf: _DUE | _REQUEST_OF_LEAF}
    found: dict[str, None] = {}
    for event in events:
        told = event.get("resOutputsEvent") or event.get("resourcePreEvent")
        if told is None:
            continue
        metadata = told["metadata"]
        name, operation = metadata["urn"].rpartition("::")[2], metadata["op"]
        changed = set(metadata.get("detailedDiff") or metadata.get("diffs") or ())
        if metadata["type"] == STACK_TYPE:
            if "resOutputsEvent" in event:
                found |= dict.fromkeys(f"output {output}" for output in _changed_outputs(metadata))
        elif operation in _IDLE:
            continue
        elif metadata["urn"] in expected and operation in _REPLACING:
            found |= dict.fromkeys(f"{name}: {one}" for one in sorted(changed - expected[metadata["urn"]]))
        elif metadata["type"] in _FOLLOWING and operation in _REPLACING | {"update"}:
            settled = {one.partition(".")[0] for one in changed} - _FOLLOWING[metadata["type"]]
            found |= dict.fromkeys(f"{name}: {one}" for one in sorted(settled))
        elif operation == "update":
            found |= dict.fromkeys(f"{name}: {one}" for one in sorted(changed - _DELIVERED))
        else:
            found[f"{name}: {operation}"] = None
    return list(found)


def _changed_outputs(metadata: Mapping[str, Any]) -> Iterator[str]:
    """Yield the outputs of the stack that would change, but for the times of certificates, and lists made anew."""
    old, new = ((metadata.get(when) or {}).get("outputs") or {} for when in ("old", "new"))
    if not new:  # not told yet
        return
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if name == "pki_inventory":
            before, after = _without_times(before), _without_times(after)
        if name == "revocation_lists":
            before, after = _without_unknown(before, after), _without_unknown(after, after)
        if name == "container_providers":
            before, after = _without_material(before), _without_material(after)
        if before != after:
            yield name


def _without_material(providers: Any) -> Any:
    if not isinstance(providers, Mapping):
        return providers
    return {
        name: {key: value for key, value in one.items() if key not in _MATERIAL} if isinstance(one, Mapping) else one
        for name, one in providers.items()
    }


def _without_times(inventory_output: Any) -> Any:
    if not isinstance(inventory_output, list):  # secret, and not told
        return inventory_output
    return [{key: value for key, value in entry.items() if key not in _TIMES} for entry in inventory_output]


def _without_unknown(lists: Any, planned: Any) -> Any:
    """Return lists by authority, but for those that are not known before the run: a clock that is a target."""
    if not isinstance(lists, Mapping) or not isinstance(planned, Mapping):  # of a release that had none
        return lists
    return {name: text for name, text in lists.items() if planned.get(name) != inventory.NOT_KNOWN}


def _check(before: _Plan, after: _Plan, place: Place) -> None:
    """Raise NotRenewed unless what was to be renewed is, and is what the edge shows."""
    if after.due:
        raise NotRenewed(
            f"still inside its window after the renewal: {', '.join(one.name for one in after.due)}; is the time"
            " pki.renewal_hours gives it longer than its life?"
        )
    if after.unseen:
        raise NotRenewed(
            f"renewed, but it could not be seen whether it is served: {after.unseen}; if this machine reaches the edge"
            " elsewhere, say so: make renew ARGS='--at <host>:<port>'"
        )
    touched = {one.name for one in (*before.due, *before.undelivered)}
    stale = [one.name for one in after.undelivered if one.name in touched]
    if stale:
        raise NotRenewed(
            f"{place} shows another certificate than the one issued for {', '.join(stale)}; see what the edge says:"
            " docker logs <its container>, then make up"
        )


def _see_what_nobody_renews(certificates: Sequence[Certificate], settings: Settings, place: Place) -> None:
    """Raise NotRenewed for whatever is near its end and is not renewed by a run of ours."""
    now = datetime.now(UTC)
    said = []
    for one in certificates:
        seen = as_served(one, place) if one.source == "acme" and one.expires is None else one
        # Caddy itself renews what it got by ACME, in the last third of its life, and tries for days.
        limit = Level.CRITICAL if one.source == "acme" else Level.WARNING
        above = inventory.ends_first(one, certificates)
        if seen.level(now) < limit or (one.is_ours and not above):
            continue
        end = _date(seen.chain_expires)
        if above:
            said.append(f"{one.name} ends with {above} on {end}: a renewal does not help; bring a new authority")
        elif one.source == "acme":
            said.append(f"{one.name} ends on {end} and was not renewed by ACME: see what {settings.prefix}-caddy logs")
        elif one.kind == inventory.TOKEN:
            said.append(
                f"{one.name} ends on {end}: renewing it makes the backend's containers anew, so run make up"
                f" STACK={settings.stack} at a quiet hour"
            )
        elif one.source in {"own", "imported", "external"}:
            said.append(f"{one.name} is your own and ends on {end}: replace its files or secrets, then make up")
        else:
            said.append(f"{one.name} ({one.kind}) ends on {end}, and no renewal makes a new one: docs/renewal.md")
    if said:
        raise NotRenewed("; ".join(said))


def as_served(certificate: Certificate, place: Place) -> Certificate:
    """Return a certificate with the ends of the leaf the edge shows for it; as it is where that cannot be seen."""
    try:
        leaf = served(place, certificate.server_name)
    except NotServed:
        return certificate
    third = (leaf.expires - leaf.starts) / 3
    return Certificate(
        name=certificate.name,
        kind=certificate.kind,
        source=certificate.source,
        names=certificate.names,
        expires=leaf.expires,
        chain_expires=leaf.expires,
        renew_at=leaf.expires - third,
    )


def _date(moment: datetime | None) -> str:
    return "nobody knows when" if moment is None else moment.astimezone(UTC).strftime(_DATE)


def _say(stack: Stack, message: str, *, failed: bool = False) -> None:
    """Print a line, and keep it with the time in the log of this stack's renewals."""
    print(message, file=sys.stderr if failed else sys.stdout, flush=True)
    log = folder_of(stack) / f"{stack.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{rfc3339(datetime.now(UTC))} {message}\n")


def _record(stack: Stack, attempt: Attempt) -> None:
    file = folder_of(stack) / f"{stack.name}.json"
    content = {"at": attempt.at.isoformat(), "succeeded": attempt.succeeded, "message": attempt.message}
    draft = file.with_suffix(".json.new")
    draft.write_text(json.dumps(content) + "\n", encoding="utf-8")
    draft.replace(file)
