"""Who may use an application: its policy bindings, by Authentik's engine (authentik/policies/engine.py)."""

from probe.authentik_expressions import ExpressionError, compile_expression
from probe.authentik_models import BINDING, EXPRESSION
from probe.authentik_registry import Object, Registry, names


def may_use(registry: Registry, application: Object, user: Object) -> bool:
    """Whether the bindings let the user pass; without one everybody may, superusers get no exception."""
    bindings = [one for one in registry.all(BINDING) if one["target"] == application["pk"] and one["enabled"]]
    results = [_passes(registry, one, user) != one["negate"] for one in bindings]
    if not results:
        return True
    return all(results) if application["policy_engine_mode"] == "all" else any(results)


def _passes(registry: Registry, binding: Object, user: Object) -> bool:
    groups = registry.groups_of(user)
    if binding["policy"] is not None:
        policy = registry.get(EXPRESSION, binding["policy"])
        if policy is None:
            return False
        try:
            return compile_expression(policy["expression"]).evaluate(user, frozenset(names(groups)))
        except (ExpressionError, TypeError, ValueError, LookupError):
            return bool(binding["failure_result"])
    if binding["group"] is not None:
        return binding["group"] in [group["pk"] for group in groups]
    return bool(binding["user"] == user["pk"])
