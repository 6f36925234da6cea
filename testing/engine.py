"""A recording engine for tests: the only file that touches the SDK's test internals.

Programs and components are built under it without a CLI, a plugin or a daemon; what they registered is then there to be
asserted on, raw request included. Assertions come after `run` returns: only then has every registration been drained.
"""

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import pulumi
from pulumi.runtime import mocks, rpc, settings
from pulumi.runtime.stack import Stack, run_in_stack
from pulumi.runtime.sync_await import _sync_await

from pki.moments import rfc3339
from testing import tls

T = TypeVar("T")

PROJECT: Final = "reflector"
STACK: Final = "test"

_FAKE_OUTPUTS: Final[Mapping[str, Mapping[str, Any]]] = {
    # Computed outputs by type token. Values are of the right shape, and those that could stray say whose they are.
    "random:index/randomId:RandomId": {"hex": "0123456789abcdef"},
    "docker:index/remoteImage:RemoteImage": {"imageId": f"sha256:{'1' * 64}", "repoDigest": f"image@sha256:{'4' * 64}"},
    # Where nobody asked for another range, the daemon has chosen one.
    "docker:index/network:Network": {"ipamConfigs": [{"subnet": "172.30.0.0/16", "gateway": "172.30.0.1"}]},
    "docker:index/container:Container": {"containerLogs": "", "exitCode": 0},
    "command:local:Command": {"stderr": ""},
    "aws:s3/bucket:Bucket": {"arn": "arn:aws:s3:::bucket", "region": "eu-central-1"},
}
SECRET_OUTPUTS: Final[Mapping[str, frozenset[str]]] = {
    # What the real providers mark as secret, so that secretness travels as it does in production.
    "random:index/randomPassword:RandomPassword": frozenset({"result"}),
    "random:index/randomBytes:RandomBytes": frozenset({"base64", "hex"}),
    "tls:index/privateKey:PrivateKey": frozenset({"privateKeyPem"}),
    "aws:iam/accessKey:AccessKey": frozenset({"secret"}),
}


def fake_secret(type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, str]:
    """Return the secret outputs of the resource called `name`: its own, and of the shape of the real ones."""
    digest = hashlib.sha256(f"{type_} {name}".encode()).hexdigest()
    match type_:
        case "random:index/randomPassword:RandomPassword":
            # Where one alphabet is all it may draw from, it is the hexadecimal one.
            start = "" if "overrideSpecial" in inputs else "Pw"
            return {"result": f"{start}{digest}"[: int(inputs["length"])]}
        case "random:index/randomBytes:RandomBytes":
            value = digest[: 2 * int(inputs["length"])]
            return {"hex": value, "base64": base64.b64encode(bytes.fromhex(value)).decode()}
        case "tls:index/privateKey:PrivateKey":
            return {"privateKeyPem": tls.private_key(name, inputs)}
        case "aws:iam/accessKey:AccessKey":
            return {"secret": f"Aws{digest}"}
        case "command:local:Command":
            # Of the shape of a Hatchet token.
            return {"stdout": f"eyJ{digest}.token"}
        case _:
            return {}


def _certificates(type_: str, inputs: Mapping[str, Any], made: Mapping[str, str]) -> dict[str, str]:
    """Return the outputs of a resource of the TLS provider that others can read: real keys and certificates."""
    match type_:
        case "tls:index/privateKey:PrivateKey":
            return {"publicKeyPem": tls.public_key(made["privateKeyPem"])}
        case "tls:index/selfSignedCert:SelfSignedCert":
            return {
                "certPem": tls.self_signed(inputs),
                "validityStartTime": rfc3339(tls.STARTS),
                "validityEndTime": rfc3339(tls.ROOT_ENDS),
            }
        case "tls:index/certRequest:CertRequest":
            return {"certRequestPem": tls.request(inputs)}
        case "tls:index/locallySignedCert:LocallySignedCert":
            return {"certPem": tls.locally_signed(inputs), "validityEndTime": rfc3339(tls.LEAF_ENDS)}
        case _:
            return {}


def id_of(type_: str, name: str, outputs: Mapping[str, Any]) -> str:
    """Return the id of a resource: of a random one what the official plugin gives it, which may be its value."""
    match type_:
        case "random:index/randomPassword:RandomPassword":
            return "none"
        case "random:index/randomBytes:RandomBytes":
            return str(outputs["base64"])
        case _:
            return f"{name}-id"


@dataclass(frozen=True, kw_only=True)
class Registered:
    """One registered resource, as the engine was asked for it."""

    urn: str
    type: str
    name: str
    inputs: Mapping[str, Any]
    """Deserialised inputs; a secret is still wrapped, see `plain` and `is_secret`."""
    parent: str
    request: Any
    """The raw RegisterResourceRequest: protect, retainOnDelete, dependencies, hooks, …"""

    def is_secret(self, key: str) -> bool:
        """Return whether the input `key` travels as a secret."""
        return rpc.is_rpc_secret(self.inputs[key])

    def plain(self, key: str) -> Any:
        """Return the input `key` with any secret wrapping removed."""
        return _unwrapped(self.inputs[key])

    def open_text(self) -> str:
        """Return every input that travels in the open, as one text to search in."""
        return json.dumps(_open(self.inputs))

    def text(self) -> str:
        """Return every input, secret or not, as one text to search in."""
        return json.dumps(_unwrapped(self.inputs))

    @property
    def former_urns(self) -> frozenset[str]:
        """What it may have been called in the state of an earlier run: the engine takes over what has such a URN."""
        found = set()
        for alias in self.request.aliases:
            spec = alias.spec
            parent = spec.parentUrn or ("" if spec.noParent else self.parent)
            found.add(alias.urn or urn_of(parent, spec.type or self.type, spec.name or self.name))
        return frozenset(found)


def urn_of(parent: str, type_: str, name: str) -> str:
    """Return the URN the engine makes for a resource; the stack itself is nobody's parent in one."""
    qualified = parent.split("::")[2] if parent else ""
    prefix = "" if qualified in {"", "pulumi:pulumi:Stack"} else f"{qualified}$"
    return f"urn:pulumi:{STACK}::{PROJECT}::{prefix}{type_}::{name}"


def _unwrapped(value: Any) -> Any:
    if rpc.is_rpc_secret(value):
        return _unwrapped(rpc.unwrap_rpc_secret(value))
    if isinstance(value, dict):
        return {key: _unwrapped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unwrapped(item) for item in value]
    return value


def _open(value: Any) -> Any:
    if rpc.is_rpc_secret(value):
        return None
    if isinstance(value, dict):
        return {key: _open(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_open(item) for item in value]
    return value


class _Mocks(mocks.Mocks):
    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.ids: dict[str, str] = {}

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        inputs = _unwrapped(args.inputs)
        made = fake_secret(args.typ, args.name, inputs)
        self.secrets |= {f"{args.name}.{key}": value for key, value in made.items()}
        computed = {
            key: value.replace("{name}", args.name) if isinstance(value, str) else value
            for key, value in _FAKE_OUTPUTS.get(args.typ, {}).items()
        }
        outputs = {**computed, **_certificates(args.typ, inputs, made), **inputs, **made}
        id_ = self.ids[args.name] = id_of(args.typ, args.name, outputs)
        secret = SECRET_OUTPUTS.get(args.typ, frozenset())
        # Wrapped by hand: the monitor answers on a thread of its own, where the SDK does not know that secrets are
        # supported.
        return id_, {
            key: {rpc._special_sig_key: rpc._special_secret_sig, "value": value} if key in secret else value
            for key, value in outputs.items()
        }

    def call(self, args: mocks.MockCallArgs) -> Any:
        raise AssertionError(f"unexpected call of {args.token}: a preview must not ask anybody anything")


class _Monitor(mocks.MockMonitor):
    def __init__(self, answers: _Mocks) -> None:
        super().__init__(answers)
        self.registered: list[Registered] = []
        self.outputs: dict[str, Mapping[str, Any]] = {}

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        # The SDK's own makes others than the engine does: of no stack, and with the stack as a parent.
        return urn_of(parent, type_, name)

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 -- the gRPC service's name
        self.registered.append(
            Registered(
                urn=self.make_urn(request.parent, request.type, request.name),
                type=request.type,
                name=request.name,
                inputs=rpc.deserialize_properties(request.object),
                parent=request.parent,
                request=request,
            )
        )
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]  # the SDK's

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 -- the gRPC service's name
        self.outputs[request.urn] = rpc.deserialize_properties(request.outputs)
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]  # the SDK's


@dataclass
class _Callbacks:
    """Stands in for the SDK's callback server, which needs a real connection to an engine."""

    hooks: dict[str, pulumi.ResourceHook | pulumi.ErrorHook] = field(default_factory=dict)

    def register_resource_hook(self, hook: pulumi.ResourceHook) -> None:
        self.hooks[hook.name] = hook

    def register_error_hook(self, hook: pulumi.ErrorHook) -> None:
        self.hooks[hook.name] = hook


class Engine:
    """Runs programs and remembers what they asked for."""

    def __init__(self) -> None:
        self._mocks = _Mocks()
        self._monitor = _Monitor(self._mocks)
        self._callbacks = _Callbacks()
        self.exports: dict[str, Any] = {}
        """Stack outputs, resolved."""
        self.secret_exports: frozenset[str] = frozenset()
        """Names of the stack outputs that are secret."""

    def run(self, build: Callable[[], T]) -> T:
        """Run `build` as a program, wait until all it registered is drained, and return its result."""
        mocks.set_mocks(self._mocks, project=PROJECT, stack=STACK, preview=False, monitor=self._monitor)
        settings.SETTINGS.callbacks = self._callbacks
        settings.SETTINGS.rpc_manager.clear()
        settings.SETTINGS.outputs.clear()
        results: list[T] = []
        stacks: list[pulumi.Resource | None] = []

        def program() -> None:
            stacks.append(settings.get_root_resource())
            results.append(build())

        # As the language host runs a program, with what was handed to pulumi.run after it. Of the SDK's own for tests
        # the root is closed before the program is asked.
        settings.ROOT.set(None)
        _sync_await(run_in_stack(program))
        (stack,) = stacks
        assert isinstance(stack, Stack)
        exported = {name: pulumi.Output.from_input(value) for name, value in stack.outputs.items()}
        self.exports = {name: value_of(value) for name, value in exported.items()}
        self.secret_exports = frozenset(name for name, value in exported.items() if is_secret(value))
        return results[0]

    @property
    def secrets(self) -> Mapping[str, str]:
        """Every secret a resource produced, by `<resource>.<output>`; what a command prints counts as one."""
        return dict(self._mocks.secrets)

    @property
    def ids(self) -> Mapping[str, str]:
        """The id of every resource, by its name: in clear text wherever the state is."""
        return dict(self._mocks.ids)

    @property
    def resources(self) -> list[Registered]:
        """Everything registered but the stack itself, in order."""
        return [resource for resource in self._monitor.registered if resource.type != "pulumi:pulumi:Stack"]

    @property
    def hooks(self) -> Mapping[str, pulumi.ResourceHook | pulumi.ErrorHook]:
        """Registered hooks by name."""
        return self._callbacks.hooks

    def of_type(self, type_: str) -> list[Registered]:
        """Return the registered resources of one type."""
        return [resource for resource in self.resources if resource.type == type_]

    def named(self, name: str) -> Registered:
        """Return the one registered resource called `name`."""
        found = [resource for resource in self.resources if resource.name == name]
        assert len(found) == 1, f"{len(found)} resources are called {name}"
        return found[0]

    def outputs_of(self, name: str) -> Mapping[str, Any]:
        """Return what the component called `name` registered as its outputs."""
        return self._monitor.outputs[self.named(name).urn]


def value_of(output: pulumi.Output[T]) -> T:
    """Return the value of a resolved output."""
    return _loop().run_until_complete(output.future(with_unknowns=False))  # type: ignore[return-value]  # the SDK types it as optional


def is_secret(output: pulumi.Output[Any]) -> bool:
    """Return whether a resolved output is secret."""
    return _loop().run_until_complete(output.is_secret())


def _loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of this thread; `asyncio.run` in a test before leaves none."""
    try:
        return asyncio.get_event_loop()
    except RuntimeError:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        return loop


def engines() -> Iterator[Engine]:
    """Yield an engine in an event loop of its own, and leave nothing behind."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield Engine()
    finally:
        loop.close()
        asyncio.set_event_loop(asyncio.new_event_loop())


__all__ = ["PROJECT", "STACK", "Engine", "Registered", "engines", "is_secret", "urn_of", "value_of"]
