"""The pack behind the engine's protocol for analyzers (proto/pulumi/analyzer.proto of its sources).

The SDK for packs, pulumi-policy, is not used: it takes the marks of secrets away before a rule sees a value, so none
could tell whether a key is encrypted, and it needs an older protobuf than the engine's own SDK here is installed with
(docs/decisions/0025-policy-pack.md).
"""

import sys
from collections.abc import Iterable
from concurrent import futures
from typing import Any, Final

import grpc
from google.protobuf import empty_pb2, json_format
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc, plugin_pb2

from policy.rules import RULES, Resource, Rule, Violation, of_resource, of_stack

NAME: Final = "reflector"
VERSION: Final = "1.0.0"
"""As in PulumiPolicy.yaml."""


class Analyzer(analyzer_pb2_grpc.AnalyzerServicer):
    """Answers the engine. Every rule is mandatory: whatever breaks one ends the run."""

    def Analyze(self, request: Any, context: object) -> analyzer_pb2.AnalyzeResponse:  # noqa: N802 -- the protocol's
        """Return what is wrong with one resource."""
        return _response(of_resource(resource(request)))

    def AnalyzeStack(self, request: Any, context: object) -> analyzer_pb2.AnalyzeResponse:  # noqa: N802 -- the protocol's
        """Return what is wrong with all of them."""
        return _response(of_stack([resource(one) for one in request.resources]))

    def Remediate(self, request: object, context: object) -> analyzer_pb2.RemediateResponse:  # noqa: N802 -- the protocol's
        """Change nothing."""
        return analyzer_pb2.RemediateResponse()

    def GetAnalyzerInfo(self, request: object, context: object) -> analyzer_pb2.AnalyzerInfo:  # noqa: N802 -- the protocol's
        """Return what rules there are."""
        return analyzer_pb2.AnalyzerInfo(
            name=NAME,
            version=VERSION,
            policies=[
                analyzer_pb2.PolicyInfo(
                    name=rule.name,
                    description=rule.description,
                    enforcementLevel=analyzer_pb2.MANDATORY,
                    policy_type=analyzer_pb2.POLICY_TYPE_RESOURCE
                    if rule.resource is not None
                    else analyzer_pb2.POLICY_TYPE_STACK,
                )
                for rule in RULES
            ],
        )

    def GetPluginInfo(self, request: object, context: object) -> plugin_pb2.PluginInfo:  # noqa: N802 -- the protocol's
        """Return which version this is."""
        return plugin_pb2.PluginInfo(version=VERSION)

    def Configure(self, request: object, context: object) -> empty_pb2.Empty:  # noqa: N802 -- the protocol's
        """Take no configuration: a rule that can be switched off is none."""
        return empty_pb2.Empty()


def resource(told: Any) -> Resource:
    """Return what the engine tells of a resource."""
    return Resource(
        urn=told.urn,
        type=told.type,
        name=told.name,
        properties=json_format.MessageToDict(told.properties),
        protect=told.options.protect,
    )


def _response(found: Iterable[tuple[Rule, Violation]]) -> analyzer_pb2.AnalyzeResponse:
    return analyzer_pb2.AnalyzeResponse(
        diagnostics=[
            analyzer_pb2.AnalyzeDiagnostic(
                policyName=rule.name,
                policyPackName=NAME,
                policyPackVersion=VERSION,
                description=rule.description,
                message=f"{violation.urn.rpartition('::')[2]}: {violation.text}",
                enforcementLevel=analyzer_pb2.MANDATORY,
                urn=violation.urn,
            )
            for rule, violation in found
        ]
    )


def serve() -> None:
    """Answer the engine until it ends this process; the port goes to standard output, as it expects."""
    # All resources of a stack come in one message, with their files.
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), options=[("grpc.max_receive_message_length", -1)])
    analyzer_pb2_grpc.add_AnalyzerServicer_to_server(Analyzer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()
