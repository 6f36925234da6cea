"""All objects of Authentik at one moment, in memory: what its tables and their constraints are to a blueprint."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from probe.authentik_models import APPLICATION, BRAND, GROUP, MODELS, PROVIDER, USER

Key = str | int
Object = dict[str, Any]

DEFAULT_BRAND = "authentik-default"


class UnknownFieldError(Exception):
    """A look-up by a field the model has not, in Django's words."""


@dataclass(kw_only=True)
class Registry:
    """Objects by model and key.

    ``numbers`` is the last number each numbered model gave away: none is given twice. ``ended`` collects pairs such as
    ``("user", 7)``: whose sessions and tokens end with the change that is being made.
    """

    objects: dict[str, dict[Key, Object]] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    ended: set[tuple[str, Key]] = field(default_factory=set)

    def all(self, model: str) -> list[Object]:
        """Every object of a model."""
        return list(self.objects.get(model, {}).values())

    def get(self, model: str, key: Any) -> Object | None:
        """The object with this key."""
        return self.objects.get(model, {}).get(key) if isinstance(key, (str, int)) else None

    def find(self, model: str, conditions: Mapping[str, Any]) -> Object | None:
        """The first object all conditions hold for; raises UnknownFieldError for a field the model has not."""
        known = MODELS[model].fields
        for name in conditions:
            if name != "pk" and name not in known:
                choices = ", ".join(sorted((*known, "pk")))
                raise UnknownFieldError(f"Cannot resolve keyword '{name}' into field. Choices are: {choices}")
        for item in self.all(model):
            if all(_holds(item.get(name), wanted) for name, wanted in conditions.items()):
                return item
        return None

    def add(self, model: str, fields: Mapping[str, Any]) -> Object:
        """Keep a new object under a new key."""
        key: Key = str(uuid4())
        if MODELS[model].numbered:
            key = self.numbers.get(model, 0) + 1
            self.numbers[model] = key
        item = {**fields, "pk": key}
        self.objects.setdefault(model, {})[key] = item
        self._changed(model, item)
        return item

    def update(self, model: str, item: Object, fields: Mapping[str, Any]) -> None:
        """Change fields of an object."""
        item.update(fields)
        self._changed(model, item)

    def delete(self, model: str, key: Key) -> None:
        """Remove an object, with what cannot be without it; other references to it become empty."""
        if self.objects.get(model, {}).pop(key, None) is None:
            return
        for other, definition in MODELS.items():
            for name, described in definition.fields.items():
                if described.reference != model:
                    continue
                for item in self.all(other):
                    if described.many:
                        item[name] = [one for one in item.get(name) or [] if one != key]
                    elif item.get(name) == key:
                        if described.cascade:
                            self.delete(other, item["pk"])
                        else:
                            item[name] = None
        if model in (USER, PROVIDER):
            self.ended.add(("user" if model == USER else "provider", key))

    def clash(self, model: str, fields: Mapping[str, Any], own_key: Key | None) -> str | None:
        """The first unique field another object already has this value in."""
        for name, described in MODELS[model].fields.items():
            if described.unique and fields.get(name) is not None:
                taken = self.find(model, {name: fields[name]})
                if taken is not None and taken["pk"] != own_key:
                    return name
        return None

    def groups_of(self, user: Object) -> list[Object]:
        """The user's own groups and those above them."""
        found: dict[Key, Object] = {}
        waiting = list(user["groups"])
        while waiting:
            group = self.get(GROUP, waiting.pop())
            if group is not None and group["pk"] not in found:
                found[group["pk"]] = group
                waiting.extend(group["parents"])
        return list(found.values())

    def is_superuser(self, user: Object) -> bool:
        """Whether a group makes the user one."""
        return any(group["is_superuser"] for group in self.groups_of(user))

    def application_of(self, provider: Object) -> Object | None:
        """The application a provider belongs to."""
        return self.find(APPLICATION, {"provider": provider["pk"]})

    def brand_title(self) -> str:
        """The title of the brand that is shown: here always the default one."""
        brand = self.find(BRAND, {"domain": DEFAULT_BRAND})
        return "authentik" if brand is None else str(brand["branding_title"])

    def _changed(self, model: str, item: Object) -> None:
        if model == USER and not item["is_active"]:
            self.ended.add(("user", item["pk"]))
        if model == GROUP:
            self._set_members(item)

    def _set_members(self, group: Object) -> None:
        """A group's list of users replaces its members; they are kept with the users."""
        wanted = group.pop("users", None)
        if wanted is None:
            return
        for user in self.all(USER):
            others = [one for one in user["groups"] if one != group["pk"]]
            user["groups"] = [*others, group["pk"]] if user["pk"] in wanted else others


def names(items: Iterable[Object]) -> list[str]:
    """The names of objects."""
    return [str(item["name"]) for item in items]


def _holds(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(value, dict) and all(value.get(name) == part for name, part in wanted.items())
    if isinstance(value, list) and not isinstance(wanted, list):
        return wanted in value
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)
