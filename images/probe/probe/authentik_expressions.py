"""Expressions of policies: a small, harmless part of the Python that Authentik would run.

Assignments and a ``return`` of comparisons, ``and``/``or``/``not``, texts, lists and numbers, over ``request.user``'s
email, name and username, with a few methods of texts and ``ak_is_group_member``. Whatever else stands in an expression
is refused when the blueprint is applied.
"""

import ast
from collections.abc import Mapping
from typing import Any

USER_ATTRIBUTES = ("email", "name", "username")
METHODS = (
    "casefold",
    "endswith",
    "lower",
    "partition",
    "rpartition",
    "rsplit",
    "split",
    "startswith",
    "strip",
    "upper",
)


class ExpressionError(Exception):
    """The expression is no Python, or more of it than is evaluated here."""


class Expression:
    """A parsed expression."""

    def __init__(self, statements: list[ast.stmt]) -> None:
        """Keep what ``compile_expression`` found fit."""
        self._statements = statements

    def evaluate(self, user: Mapping[str, Any], groups: frozenset[str]) -> bool:
        """Whether it lets this user pass; ``groups`` are the names of the user's groups."""
        return bool(_Evaluation(user, groups).run(self._statements))


def compile_expression(text: str) -> Expression:
    """Parse an expression; raises ExpressionError where it cannot be evaluated here."""
    # Authentik puts the text into a function of its own, so that it may return.
    body = "\n".join(f"    {line}" for line in text.splitlines())
    try:
        function = ast.parse(f"def handler():\n{body}\n").body[0]
    except SyntaxError as problem:
        raise ExpressionError(f"Expression Syntax Error: {problem.msg}") from None
    if not isinstance(function, ast.FunctionDef):
        raise ExpressionError("Expression Syntax Error")
    for node in ast.walk(function):
        if node is not function:
            _check(node)
    return Expression(function.body)


_PLAIN = (
    *(ast.arguments, ast.Load, ast.Store, ast.And, ast.Or, ast.Not, ast.UnaryOp, ast.USub, ast.BoolOp, ast.Compare),
    *(ast.Eq, ast.NotEq, ast.In, ast.NotIn, ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Subscript, ast.Return),
    ast.keyword,
)


def _check(node: ast.AST) -> None:
    fits = isinstance(node, _PLAIN)
    if isinstance(node, ast.Assign):
        fits = len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
    elif isinstance(node, ast.Name):
        fits = True
    elif isinstance(node, ast.Attribute):
        fits = node.attr in (*USER_ATTRIBUTES, *METHODS, "user")
    elif isinstance(node, ast.Call):
        named = isinstance(node.func, ast.Name) and node.func.id == "ak_is_group_member"
        fits = named or (isinstance(node.func, ast.Attribute) and node.func.attr in METHODS and not node.keywords)
    if not fits:
        raise ExpressionError(f"the probe does not evaluate {type(node).__name__} in an expression")


class _Evaluation:
    def __init__(self, user: Mapping[str, Any], groups: frozenset[str]) -> None:
        self._user = {name: str(user[name]) for name in USER_ATTRIBUTES}
        self._groups = groups
        self._names: dict[str, Any] = {}

    def run(self, statements: list[ast.stmt]) -> Any:
        for statement in statements:
            if isinstance(statement, ast.Return):
                return statement.value is not None and self.value(statement.value)
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                self._names[statement.targets[0].id] = self.value(statement.value)
        return None

    def value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.List() | ast.Tuple() | ast.Set():
                return tuple(self.value(item) for item in node.elts)
            case ast.Name():
                if node.id not in self._names:
                    raise ExpressionError(f"name '{node.id}' is not defined")
                return self._names[node.id]
            case ast.BoolOp():
                values = (self.value(item) for item in node.values)
                return all(values) if isinstance(node.op, ast.And) else any(values)
            case ast.UnaryOp():
                value = self.value(node.operand)
                return not value if isinstance(node.op, ast.Not) else -value
            case ast.Compare():
                return self._compare(node)
            case ast.Attribute():
                return self._attribute(node)
            case ast.Subscript():
                return self.value(node.value)[self.value(node.slice)]
            case ast.Call():
                return self._call(node)
        raise ExpressionError(f"the probe does not evaluate {type(node).__name__} in an expression")

    def _compare(self, node: ast.Compare) -> bool:
        left = self.value(node.left)
        for operator, other in zip(node.ops, node.comparators, strict=True):
            right = self.value(other)
            match operator:
                case ast.Eq():
                    holds = left == right
                case ast.NotEq():
                    holds = left != right
                case ast.In():
                    holds = left in right
                case _:
                    holds = left not in right
            if not holds:
                return False
            left = right
        return True

    def _attribute(self, node: ast.Attribute) -> str:
        if ast.unparse(node.value) != "request.user" or node.attr not in USER_ATTRIBUTES:
            raise ExpressionError(f"the probe does not know {ast.unparse(node)}")
        return self._user[node.attr]

    def _call(self, node: ast.Call) -> Any:
        if isinstance(node.func, ast.Name):
            names = [self.value(word.value) for word in node.keywords if word.arg == "name"]
            return bool(names) and names[0] in self._groups
        assert isinstance(node.func, ast.Attribute)
        target = self.value(node.func.value)
        if not isinstance(target, str):
            raise ExpressionError(f"the probe calls methods of texts only, not {ast.unparse(node.func)}")
        return getattr(target, node.func.attr)(*(self.value(argument) for argument in node.args))
