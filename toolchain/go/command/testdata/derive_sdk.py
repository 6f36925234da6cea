"""Write the interface of the installed PyPI package `pulumi_command` as compact JSON to standard output.

The Go tests compare the provider's schema with the committed result, `sdk.json`, and a test of the toolchain tells when
that is no longer what this says.
"""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import sys
from pathlib import Path

PRIMITIVES = {"str": "string", "bool": "boolean", "int": "integer", "float": "number", "Any": "any"}
COLLECTIONS = {"Sequence": "array", "Mapping": "map"}

Properties = dict[str, str]


def schema_type(hint: ast.expr, module: str) -> str:
    """Turn a type hint of the SDK into the schema's terms, such as `array<string>` or `command:local:Logging`."""
    if isinstance(hint, ast.Constant) and isinstance(hint.value, str):
        hint = ast.parse(hint.value, mode="eval").body
    if isinstance(hint, ast.Name):
        if hint.id in PRIMITIVES:
            return PRIMITIVES[hint.id]
        return f"command:{module}:{hint.id.removesuffix('Dict').removesuffix('Args')}"
    if isinstance(hint, ast.Attribute):
        if hint.attr in PRIMITIVES:
            return PRIMITIVES[hint.attr]
        if ast.unparse(hint.value) == "outputs":
            return f"command:{module}:{hint.attr}"
        return {"Asset": "asset", "Archive": "archive"}[hint.attr]
    if isinstance(hint, ast.Subscript):
        name = hint.value.id if isinstance(hint.value, ast.Name) else ast.unparse(hint.value).rpartition(".")[2]
        args = hint.slice.elts if isinstance(hint.slice, ast.Tuple) else [hint.slice]
        if name == "Union":
            # The SDK lets a caller pass a source either as an asset or as an archive; the schema calls that an asset.
            return schema_type(args[0], module)
        if name in COLLECTIONS:
            return f"{COLLECTIONS[name]}<{schema_type(args[-1], module)}>"
        if name in ("Optional", "Input", "Output", "Awaitable"):
            return schema_type(args[0], module)
    raise ValueError(f"no schema type is known for the hint {ast.unparse(hint)}")


def optional(hint: ast.expr) -> bool:
    """Tell whether a hint says that the property may be left out."""
    return re.search(r"\bOptional\[", ast.unparse(hint)) is not None


def getters(node: ast.ClassDef, module: str) -> Properties:
    """Read the properties of one class: name in the schema, then type, with `?` after it where optional."""
    found: Properties = {}
    for item in node.body:
        if not isinstance(item, ast.FunctionDef) or item.returns is None:
            continue
        for decorator in item.decorator_list:
            text = ast.unparse(decorator)
            if text.startswith("pulumi.getter"):
                named = re.search(r"name='(\w+)'", text)
                name = named.group(1) if named else item.name
                found[name] = schema_type(item.returns, module) + ("?" if optional(item.returns) else "")
    return dict(sorted(found.items()))


def decorated(node: ast.ClassDef, name: str) -> str | None:
    """Find the argument of a decorator, or the empty string for one without arguments, or None."""
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == name:
            argument = decorator.args[0]
            return str(argument.value) if isinstance(argument, ast.Constant) else ""
        if ast.unparse(decorator) == name:
            return ""
    return None


def string_list(source: str, option: str) -> list[str]:
    """Read the resource option that a resource class sets for every instance."""
    match = re.search(option + r"=(\[.*?\])\)", source)
    return sorted(ast.literal_eval(match.group(1))) if match else []


def defaults(node: ast.ClassDef) -> dict[str, object]:
    """Read the defaults that an input class fills in."""
    found: dict[str, object] = {}
    for statement in ast.walk(node):
        if isinstance(statement, ast.If) and (match := re.fullmatch(r"(\w+) is None", ast.unparse(statement.test))):
            assignment = statement.body[0]
            if isinstance(assignment, ast.Assign) and isinstance(assignment.value, ast.Constant):
                words = match.group(1).split("_")
                found[words[0] + "".join(w.title() for w in words[1:])] = assignment.value.value
    return dict(sorted(found.items()))


def main() -> None:
    """Read every module of the package and print the result."""
    package = importlib.metadata.distribution("pulumi_command")
    root = Path(str(package.locate_file("pulumi_command")))
    resources: dict[str, object] = {}
    types: dict[str, object] = {}
    enums: dict[str, object] = {}
    functions: dict[str, object] = {}
    for path in sorted(root.glob("*/*.py")):
        module = path.parent.name
        source = path.read_text(encoding="utf-8")
        classes = {n.name: n for n in ast.parse(source).body if isinstance(n, ast.ClassDef)}
        for name, node in classes.items():
            token = decorated(node, "pulumi.type_token")
            if path.name == "_enums.py" and token:
                enums[token] = sorted(
                    str(s.value.value)
                    for s in node.body
                    if isinstance(s, ast.Assign) and isinstance(s.value, ast.Constant)
                )
            elif token:
                resources[token] = {
                    "inputs": getters(classes[f"{name}Args"], module),
                    "outputs": getters(node, module),
                    "replaceOnChanges": string_list(source, "replace_on_changes"),
                    "secretOutputs": string_list(source, "additional_secret_outputs"),
                    "deprecated": "DeprecationWarning" in source,
                }
            elif path.name == "_inputs.py" and decorated(node, "pulumi.input_type") is not None:
                types[f"command:{module}:{name.removesuffix('Args')}"] = {
                    "properties": getters(node, module),
                    "defaults": defaults(node),
                }
            elif name.endswith("Result") and decorated(node, "pulumi.output_type") is not None:
                function = name.removesuffix("Result").lower()
                definition = next(
                    n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name == function
                )
                inputs: Properties = {}
                for argument in definition.args.args:
                    if argument.annotation is not None and argument.arg != "opts":
                        words = argument.arg.split("_")
                        inputs[words[0] + "".join(w.title() for w in words[1:])] = schema_type(
                            argument.annotation, module
                        )
                functions[f"command:{module}:{function}"] = {
                    "inputs": dict(sorted(inputs.items())),
                    "outputs": getters(node, module),
                }
    document = {
        "package": "pulumi_command",
        "version": package.version,
        "resources": resources,
        "functions": functions,
        "types": types,
        "enums": enums,
    }
    json.dump(document, sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
