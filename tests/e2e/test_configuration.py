"""What the pages say to type is what the engine understands."""

import re
from typing import Final

import jsonschema
import pytest
import yaml

from developer import documentation
from settings import PROJECT, EngineConfig, parse, read, resolved
from settings.schema import stack_schema
from settings.storage import External
from tests.e2e.stack import Checkout, Stack

pytestmark = pytest.mark.docker

COMMANDS: Final = re.findall(r"^\| `(pulumi [^`]+)` \|", documentation.settings_in_short(), re.MULTILINE)
TYPED: Final = "typed-secret"


def test_the_printed_commands_make_a_stack_file_one_after_another(checkout: Checkout) -> None:
    stack = Stack(checkout=checkout, name="e2e-printed")
    stack.pulumi("stack", "init").succeeded()
    try:
        for command in COMMANDS:
            # Nobody is there to be asked for a secret: it comes as what would be typed.
            typed = f"echo {TYPED} | " if "--secret" in command else ""
            checkout.start("sh", "-c", f"{typed}{command} --stack {stack.name}").finish(60).succeeded()
        file = checkout.stack_file(stack.name)
        entries = stack.answer("config", "--json", "--show-secrets")
        engine = EngineConfig.of(
            {key: entry["value"] for key, entry in entries.items()},
            frozenset(key for key, entry in entries.items() if entry["secret"]),
        )
        settings = parse(resolved(read(file), engine), stack.name, PROJECT)
        assert settings.edge.https_port == int(documentation.MOST_USED["edge.https_port"])
        assert settings.edge.extra_names == (documentation.MOST_USED["edge.extra_names"],)
        assert settings.host.address == documentation.MOST_USED["hosts.main.address"]
        assert isinstance(settings.storage, External)
        assert settings.storage.secret_access_key.value == TYPED
        text = file.read_text(encoding="utf-8")
        assert TYPED not in text
        content = yaml.safe_load(text)
        assert content["config"]["reflector:storage"]["secret_access_key"].keys() == {"secure"}
        # An editor takes for right what the engine itself has written.
        jsonschema.validate(content, stack_schema())
    finally:
        stack.pulumi("stack", "rm", "--yes", "--force").succeeded()
