"""What the engine is answered, over its own protocol and by the program it starts."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from google.protobuf import json_format, struct_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from policy import analyzer
from policy.rules import RULES
from testing.sources import ROOT
from tests.unit.policy.told import KEY, secret

URN = "urn:pulumi:test::reflector::random:index/randomId:RandomId::it"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Speak with the pack as the engine does: started by its folder, from elsewhere."""
    started = subprocess.Popen(
        [sys.executable, "-m", "pulumi.policy", "127.0.0.1:1", str(ROOT / "policy")],
        cwd=tmp_path_factory.mktemp("elsewhere"),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert started.stdout is not None
        with grpc.insecure_channel(f"127.0.0.1:{int(started.stdout.readline())}") as channel:
            yield analyzer_pb2_grpc.AnalyzerStub(channel)
    finally:
        started.kill()
        started.communicate()


def properties(**values: object) -> struct_pb2.Struct:
    return json_format.ParseDict(values, struct_pb2.Struct())


def test_it_says_what_rules_there_are_and_that_each_is_mandatory(engine: Any) -> None:
    info = engine.GetAnalyzerInfo(analyzer_pb2.ConfigureAnalyzerRequest())
    assert [(one.name, one.enforcementLevel) for one in info.policies] == [
        (rule.name, analyzer_pb2.MANDATORY) for rule in RULES
    ]
    project = yaml.safe_load((ROOT / "policy" / "PulumiPolicy.yaml").read_text(encoding="utf-8"))
    assert (info.name, info.version) == (project["name"], project["version"])


def test_a_resource_that_breaks_a_rule_ends_the_run_and_is_named(engine: Any) -> None:
    request = analyzer_pb2.AnalyzeRequest(
        urn=URN, type="random:index/randomId:RandomId", name="it", properties=properties(keepers={"key": KEY})
    )
    in_the_open, strayed = engine.Analyze(request).diagnostics
    assert in_the_open.message.startswith("it: keepers.key: a private key in clear text; ")
    assert (in_the_open.policyName, strayed.policyName) == (
        "no-private-key-in-clear-text",
        "private-keys-where-they-are-used",
    )
    assert (in_the_open.enforcementLevel, in_the_open.urn) == (analyzer_pb2.MANDATORY, URN)
    assert KEY.splitlines()[1] not in str([in_the_open, strayed])


def test_of_a_stack_larger_than_a_message_of_grpc_all_is_looked_at(engine: Any) -> None:
    one = analyzer_pb2.AnalyzerResource(
        urn="urn:pulumi:test::reflector::pulumi:pulumi:Stack::it",
        type="pulumi:pulumi:Stack",
        properties=properties(large="x" * 5_000_000, closed=secret(KEY), open=KEY),
    )
    (found,) = engine.AnalyzeStack(analyzer_pb2.AnalyzeStackRequest(resources=[one])).diagnostics
    assert found.message.startswith("it: open: a private key in clear text")


def test_nothing_is_changed_and_no_configuration_is_taken(engine: Any) -> None:
    request = analyzer_pb2.AnalyzeRequest(urn=URN, type="t", properties=properties(key=KEY))
    assert not engine.Remediate(request).remediations
    engine.Configure(analyzer_pb2.ConfigureAnalyzerRequest())
    assert engine.GetPluginInfo(struct_pb2.Struct()).version == analyzer.VERSION


def test_it_is_no_program_of_its_own_environment() -> None:
    """It runs in the stack's, which is there, and which set-up keeps."""
    project = yaml.safe_load((ROOT / "policy" / "PulumiPolicy.yaml").read_text(encoding="utf-8"))
    program = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))
    options = project["runtime"]["options"]
    assert (ROOT / "policy" / options["virtualenv"]).resolve() == Path(
        ROOT, program["runtime"]["options"]["virtualenv"]
    )
    assert options["toolchain"] == program["runtime"]["options"]["toolchain"]
