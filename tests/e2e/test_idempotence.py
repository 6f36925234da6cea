"""Doing it again does nothing."""

import json

import pytest

from tests.e2e.stack import Stack

pytestmark = pytest.mark.docker


def built(stack: Stack) -> list[str]:
    """Return when each image of its services was built."""
    ids = [entry["image"] for entry in stack.outputs()["services"].values()]
    return [image["Created"] for image in json.loads(stack.host.docker("image", "inspect", *ids))]


def test_a_second_up_changes_nothing(deployment: Stack) -> None:
    before, images = deployment.containers(), built(deployment)
    deployment.up()
    assert deployment.last_changes().keys() == {"same"}
    assert built(deployment) == images, "what has not changed is not built again"
    after = deployment.containers()
    assert {s: (c["Id"], c["State"]["StartedAt"]) for s, c in after.items()} == {
        s: (c["Id"], c["State"]["StartedAt"]) for s, c in before.items()
    }


def test_what_is_there_is_what_was_asked_for(deployment: Stack) -> None:
    finished = deployment.pulumi("preview", "--refresh", "--expect-no-changes", "--diff").succeeded()
    assert "warning" not in finished.output.lower(), finished.output


def test_a_preview_prints_no_warning_and_changes_no_file(deployment: Stack) -> None:
    before = deployment.checkout.stack_file(deployment.name).read_bytes()
    output = deployment.run("preview").succeeded().output
    assert "warning" not in output.lower(), output
    assert deployment.checkout.stack_file(deployment.name).read_bytes() == before


def test_git_sees_nothing_of_all_this(deployment: Stack) -> None:
    # The engine has written the salt of this machine's passphrase into the stack file, which is tracked here.
    assert "encryptionsalt:" in deployment.checkout.stack_file(deployment.name).read_text(encoding="utf-8")
    assert deployment.git_after_first_up == ""
