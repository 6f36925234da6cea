"""The rules no container may break, whatever component made it."""

from collections.abc import Iterator
from typing import Any

from testing.engine import Registered


def assert_rules(container: Registered) -> None:
    """Fail unless a container keeps every rule."""
    broken = list(broken_rules(container))
    assert broken == [], f"{container.name}: {'; '.join(broken)}"


def broken_rules(container: Registered) -> Iterator[str]:
    """Yield each rule a container breaks, as what would come of it."""

    def given(key: str) -> Any:
        return container.plain(key) if key in container.inputs else None

    request = container.request
    labels = {entry["label"]: entry["value"] for entry in given("labels") or ()}
    service = labels.get("org.reflector.service", "")
    stack = labels.get("org.reflector.stack", "")
    capabilities = given("capabilities") or {}
    check = given("healthcheck") or {}
    rules = {
        # What it is.
        "the image is not exactly one": str(given("image")).startswith("sha256:"),
        "it is not named for its stack and service": bool(service) and given("name") == f"{stack}-{service}",
        "an interrupted run's would not be known for ours": len(labels.get("org.reflector.deployment", "")) == 16,
        "the host's own name leaks, and Celery's node name floats": given("hostname") == service != "",
        "others cannot reach it by its name": all(
            service in entry["aliases"] for entry in given("networksAdvanced") or [{"aliases": ()}]
        ),
        # What it may do.
        "it keeps capabilities": capabilities.get("drops") == ["ALL"],
        "a capability without its prefix drifts": all(one.startswith("CAP_") for one in capabilities.get("adds", ())),
        "its processes can gain privileges": given("securityOpts") == ["no-new-privileges:true"],
        "it is privileged": given("privileged") is None,
        "it may swap, or has no limit of memory": 0 < (given("memory") or 0) == given("memorySwap"),
        # What the provider reads back.
        "the network mode drifts": given("networkMode") == "bridge",
        "the log driver drifts": given("logDriver") == "json-file",
        "its log could fill the disk": {"max-file", "max-size"} <= (given("logOpts") or {}).keys(),
        "the order of its environment is a change": given("envs") == sorted(given("envs") or ()),
        # How it starts and stops.
        "nobody would find out whether it works": bool(check.get("tests")) and given("wait") is True,
        "a default of Docker's would decide how it is checked": {"interval", "timeout", "startPeriod", "retries"}
        <= check.keys(),
        "the engine gives up before the provider, and hides why": _seconds(request.customTimeouts.create)
        > (given("waitTimeout") or 0)
        > 0,
        "it stays down after a restart of the host": given("restart") == "unless-stopped",
        "it would be killed at once": (given("destroyGraceSeconds") or 0) >= 1,
        "it is stopped with another grace than it is removed with": given("stopTimeout")
        == given("destroyGraceSeconds"),
        # How it is replaced.
        "its anonymous volumes would go with it": given("removeVolumes") is False,
        "a changed check or tmpfs would never reach it": list(request.replaceOnChanges) == ["*"],
        "the new one would find its name taken": request.deleteBeforeReplace is True,
        "a network made anew would have nobody on it": request.HasField("replacement_trigger"),
        "it cannot be replaced freely, and holds nothing": not (request.protect or request.retainOnDelete),
        "it would stumble over what an interrupted run left": len(request.hooks.before_create) == 1,
        "it would fail without a reason": len(request.hooks.on_error) == 1,
        "it would be made on the daemon of whoever runs this": "docker" in request.provider,
    }
    yield from (harm for harm, kept in rules.items() if not kept)


def _seconds(duration: str) -> int:
    """Return a duration as Go prints it, such as 1h2m3s, in seconds."""
    total, number = 0, ""
    for letter in duration:
        if letter.isdigit():
            number += letter
        else:
            total += int(number) * {"h": 3600, "m": 60, "s": 1}[letter]
            number = ""
    return total
