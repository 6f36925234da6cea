"""What is made from the code: `python -m developer.documentation [--check]`.

A page holds each generated part between two comments, `<!-- generated: name -->` and `<!-- /generated -->`; everything
around them is written by hand. So is Pulumi.yaml above its block of settings; stack.schema.json is generated as a
whole. Settings come from their models; the picture comes from the program itself, run under the recording engine of the
tests.
"""

import argparse
import difflib
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import yaml
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from developer import picture
from settings import Settings
from settings.schema import SCHEMA_FILE, Row, config_block, rows, stack_schema
from settings.walk import is_mapping, members, mode_of
from toolchain import PASSED, ROOT

MOST_USED: Final[Mapping[str, str]] = {
    # Setting → an example of a value. In this order they make one valid stack, which a test proves: each mode comes
    # before what belongs to it.
    "edge.domain": "reflector.example.com",
    "edge.extra_names": "IP:192.0.2.10",
    "edge.bind_addresses": "192.0.2.10",
    "edge.https_port": "8443",
    "hosts.main.address": "ssh://deploy@reflector.example.com",
    "sign_in.mode": "password",
    "sign_in.admin_email": "me@example.com",
    "speech.mode": "hosted",
    "speech.url": "https://speech.example.com",
    "speech.api_key": "",
    "language_model.mode": "external",
    "language_model.url": "https://llm.example.com/v1",
    "language_model.model": "llama-3.3-70b",
    "language_model.api_key": "",
    "storage.mode": "external",
    "storage.endpoint": "https://s3.example.com",
    "storage.region": "eu-central-1",
    "storage.access_key_id": "AKIAEXAMPLE",
    "storage.secret_access_key": "",
}

_MARKED: Final = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)
_BLOCK: Final = "# Made from settings/ by `make docs`"
"""How the comment before Pulumi.yaml's settings begins."""


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<")


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


# --- Settings ---------------------------------------------------------------------------------------------------------


def _in_modes(path: str) -> dict[str, FieldInfo]:
    """Return a setting in each mode that has it; the mode is empty where there is no choice."""
    return dict(_found(Settings, path.split(".")))


def _found(annotation: Any, steps: list[str]) -> Iterator[tuple[str, FieldInfo]]:
    for group in members(annotation):
        field = group.model_fields.get(steps[0])
        if field is None:
            continue
        # In a mapping the next step is a name of the user's own.
        further = steps[2:] if is_mapping(field.annotation) else steps[1:]
        if not further:
            yield mode_of(group) or "", field
            continue
        yield from ((mode_of(group) or mode, inner) for mode, inner in _found(field.annotation, further))


def _by_mode(path: str, show: Callable[[FieldInfo], str]) -> str:
    """Return what `show` says of a setting, once where it says the same in each mode."""
    said = {mode: show(field) for mode, field in _in_modes(path).items()}
    if len(set(said.values())) == 1:
        return next(iter(said.values()))
    return "<br>".join(f"`{mode}`: {text}" for mode, text in said.items())


def _default(row: Row) -> str:
    concern, _, name = row.path.rpartition(".")
    if name == "mode" and concern not in Settings.model_fields:
        return "required"
    if name == "mode":
        return f"required (`{Settings.model_fields[concern].default.mode}` if `{concern}` is left out)"
    return _by_mode(row.path, _default_of)


def _default_of(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None:
        return "none"
    if field.default == ():
        return "empty"
    return f"`{field.default if isinstance(field.default, str) else json.dumps(field.default)}`"


def _description(row: Row) -> str:
    if row.path.endswith(".mode"):
        return _escaped(row.description)
    return _by_mode(row.path, lambda field: _escaped(str(field.description)))


def _modes(row: Row) -> str:
    return " or ".join(f"`{mode}`" for mode in row.only_with)


def row_of(setting: str) -> Row:
    """Return the row of a setting whose path may hold a name of the user's own, such as that of a host."""
    for row in rows(setting.partition(".")[0]):
        if re.fullmatch(re.escape(row.path).replace(r"\.<name>", r"""(\.[\w-]+|\["[^"]+"\])"""), setting):
            return row
    raise KeyError(setting)


def command(row: Row, setting: str, example: str) -> str:
    """Return the command that sets `setting`; a secret is asked for, so that it is in no history."""
    if row.secret:
        return f"pulumi config set --secret --path {setting}"
    if row.type == "list":
        return f"pulumi config set --path '{setting}[0]' {example}"
    return f"pulumi config set --path {setting} {example}"


def settings_in_short() -> str:
    """Return the table of the most used settings."""
    return _table(
        ("Command", "What it sets", "Default"),
        (
            (f"`{command(row, setting, example)}`", _description(row), _default(row))
            for setting, example in MOST_USED.items()
            for row in [row_of(setting)]
        ),
    )


def settings_in_full() -> str:
    """Return one table of settings for each concern."""
    return "\n".join(
        f"### {concern}\n\n{field.description}.\n\n"
        + _table(
            ("Setting", "Type", "Default", "Only with mode", "What it is"),
            (
                (
                    f"`{row.path}`",
                    f"{row.type}, secret" if row.secret else row.type,
                    _default(row),
                    _modes(row),
                    _description(row),
                )
                for row in rows(concern)
            ),
        )
        for concern, field in Settings.model_fields.items()
    )


def memory_limits() -> str:
    """Return the table of default memory limits."""
    limits = [row for concern in Settings.model_fields for row in rows(concern) if row.path.endswith(".memory_mib")]
    return _table(
        ("Setting", "Limit in MiB", "Only with mode"),
        ((f"`{row.path}`", str(row.default), _modes(row)) for row in limits),
    )


def variables() -> str:
    """Return the table of what is passed on of the caller's environment."""
    return _table(
        ("What for", "Variables"), ((what, ", ".join(f"`{name}`" for name in names)) for what, names in PASSED)
    )


class _Short(dict[str, Any]):
    """A mapping that is written on one line."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Short, lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data, flow_style=True)
)


def project_file(text: str) -> str:
    """Return Pulumi.yaml with its `config:` block made anew.

    Raises: ValueError if the comment before it is gone.
    """
    block = {
        name: {key: _Short(value) if isinstance(value, dict) else value for key, value in declared.items()}
        for name, declared in config_block().items()
    }
    made = yaml.dump({"config": block}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
    above, begun, rest = text.partition(_BLOCK)
    if not begun:
        raise ValueError("Pulumi.yaml has no comment that says where its settings begin")
    comment, _, _ = rest.partition("\n")
    return f"{above}{begun}{comment}\n{made}"


def schema_file(_: str) -> str:
    """Return stack.schema.json."""
    return json.dumps(stack_schema(), indent=2, ensure_ascii=False) + "\n"


# --- Files ------------------------------------------------------------------------------------------------------------

PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "picture": picture.drawn,
    "settings-in-short": settings_in_short,
    "settings-in-full": settings_in_full,
    "memory-limits": memory_limits,
    "variables": variables,
    "containers": lambda: _table(picture.CONTAINER_HEADS, picture.container_rows()),
}
"""What can stand between two comments, by name."""


def page(text: str) -> str:
    """Return a page with its generated parts made anew.

    Raises: KeyError naming a part that PARTS does not have.
    """

    def part(match: re.Match[str]) -> str:
        return f"{match[1]}{PARTS[match['name']]()}{match[3]}"

    return _MARKED.sub(part, text)


FILES: Final[Mapping[str, Callable[[str], str]]] = {
    "README.md": page,
    "docs/configuration.md": page,
    "docs/deploy.md": page,
    "Pulumi.yaml": project_file,
    SCHEMA_FILE: schema_file,
}
"""Every file with something generated in it, and what makes it from what it was."""


def main(arguments: list[str]) -> int:
    """Write what is generated, or with `--check` say what would change; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m developer.documentation", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 if a file is not current")
    check = parser.parse_args(arguments).check
    behind = 0
    for name, renew in FILES.items():
        path = ROOT / name
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        new = renew(old)
        if new == old:
            continue
        behind += 1
        if check:
            sys.stdout.writelines(
                difflib.unified_diff(
                    old.splitlines(keepends=True), new.splitlines(keepends=True), f"{name} (as it is)", f"{name} (due)"
                )
            )
        else:
            path.write_text(new, encoding="utf-8")
            print(f"written: {name}")
    if check and behind:
        print(f"{behind} of {len(FILES)} files are not current. Run: make docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
