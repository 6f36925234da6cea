"""Write what the installed Pulumi SDKs expect of their plugins as compact JSON to standard output.

The Go tests beside it compare the schema of the bridged providers with the committed result,
`testdata/sdk_shapes.json`, and a test of the toolchain tells when that is no longer what this says. A shape is `"str"`,
`"int"`, `"float"` or `"bool"`; `[shape]` for a list, `{"*": shape}` for a map of any keys, `{name: shape}` for an
object. The names are those on the wire, and one that must be given ends in `!`.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import types
import typing
from collections import abc
from typing import Any

from pulumi import _types as sdk_types  # The SDK's own mapping of Python names to wire names; it has no public door.

PACKAGES = ("docker", "random", "tls")
# Served by the official docker plugin alone: the native image builder, which is not part of the Terraform provider.
NOT_BRIDGED = {"docker:index/image:Image"}
SCALARS = {str: "str", int: "int", float: "float", bool: "bool"}


def alternatives(kind: Any) -> list[Any]:
    """Return the members of a union that carry data: neither None, nor a promise, nor a TypedDict twin."""
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return [kind]
    members = [m for m in typing.get_args(kind) if m is not type(None)]
    plain = [m for m in members if typing.get_origin(m) is None or typing.get_origin(m) in (list, dict, abc.Sequence)]
    return [m for m in plain if not typing.is_typeddict(m) and not str(m).startswith("pulumi.output.Output")]


def shape(kind: Any) -> Any:
    """Return the wire shape of an annotation of the SDK; fail on one this script has never met."""
    kind = sdk_types.unwrap_type(kind)
    members = alternatives(kind)
    if len(members) != 1:
        raise SystemExit(f"cannot tell which of {members} the plugin is sent")
    kind = members[0]
    if kind in SCALARS:
        return SCALARS[kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (list, abc.Sequence):
        return [shape(arguments[0])]
    if origin in (dict, abc.Mapping):
        return {"*": shape(arguments[1])}
    if sdk_types.is_input_type(kind):
        return inputs(kind)
    if sdk_types.is_output_type(kind):
        return {name: shape(each) for name, each in sdk_types.output_type_types(kind).items()}
    raise SystemExit(f"no shape is known for {kind!r}")


def inputs(arguments: type) -> dict[str, Any]:
    """Return the shape of an argument class; a name ends in `!` where the constructor has no default."""
    wire_names = sdk_types.input_type_py_to_pulumi_names(arguments)
    signature = inspect.signature(arguments).parameters
    required = {wire_names[name] for name, p in signature.items() if p.default is inspect.Parameter.empty}
    return {
        name + "!" * (name in required): shape(kind) for name, kind in sdk_types.input_type_types(arguments).items()
    }


def function_inputs(function: Any, source: str) -> dict[str, Any]:
    """Return the shape of a function's arguments, whose wire names only its body knows."""
    wire_names = {python: wire for wire, python in re.findall(r"__args__\['(\w+)'\] = (\w+)", source)}
    hints = typing.get_type_hints(function)
    return {wire: shape(hints[python]) for python, wire in wire_names.items()}


def package_shapes(package: str) -> dict[str, Any]:
    """Return the tokens of one SDK with the shapes of their inputs and outputs and the names of secret outputs."""
    root = importlib.import_module(f"pulumi_{package}")
    resources: dict[str, Any] = {}
    functions: dict[str, Any] = {}
    for found in pkgutil.iter_modules(root.__path__):
        module = importlib.import_module(f"pulumi_{package}.{found.name}")
        source = inspect.getsource(module)
        secrets = re.search(r"additional_secret_outputs=(\[[^\]]*\])", source)
        for token in re.findall(rf"^ +'({package}:index/\w+:\w+)',$", source, re.MULTILINE):
            if token in NOT_BRIDGED:
                continue
            name = token.rpartition(":")[2]
            resources[token] = {
                "inputs": inputs(getattr(module, f"{name}Args")),
                "outputs": {k: shape(v) for k, v in sdk_types.resource_types(getattr(module, name)).items()},
                "secrets": sorted(json.loads(secrets[1])) if secrets else [],
            }
        for token in re.findall(rf"runtime\.invoke\('({package}:index/\w+:\w+)'", source):
            python_name = re.sub(r"(?<!^)(?=[A-Z])", "_", token.rpartition(":")[2]).lower()
            function = getattr(module, python_name)
            result = typing.get_type_hints(function)["return"].__mro__[1]
            functions[token] = {
                "inputs": function_inputs(function, inspect.getsource(function)),
                "outputs": {k: shape(v) for k, v in sdk_types.output_type_types(result).items()},
            }
    provider = importlib.import_module(f"pulumi_{package}.provider")
    return {"config": inputs(provider.ProviderArgs), "resources": resources, "functions": functions}


def main() -> None:
    """Print the shapes, one token a line."""
    shapes = {package: package_shapes(package) for package in PACKAGES}
    lines = []
    for package, sections in shapes.items():
        for section in ("resources", "functions"):
            for token, one in sorted(sections[section].items()):
                lines.append(f" {json.dumps(token)}: {json.dumps(one, sort_keys=True)}")
        lines.append(f" {json.dumps(f'pulumi:providers:{package}')}: {json.dumps({'inputs': sections['config']})}")
    print("{\n" + ",\n".join(lines) + "\n}")


if __name__ == "__main__":
    main()
