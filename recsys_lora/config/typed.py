"""Records of a config: built from plain containers and turned back into them, each field with its type and its role."""

import functools
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Self

from recsys_lora.config.roles import SOURCE, Role, Stage, leaves, selected
from recsys_lora.utils.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Record:
    """A node of the config whose keys are known.

    Attributes:
        extra: keys without a field; they exist for interpolations.
    """

    extra: Annotated[Mapping[str, Any], SOURCE] = field(default_factory=dict)

    @classmethod
    def of(cls, node: Mapping[str, Any], at: str = "") -> Self:
        """Build a record from plain containers, interpolations resolved; values are not checked.

        Args:
            node: the containers.
            at: its place in the config, for messages.

        Raises:
            UserError: it is not a mapping, or a key without a default is missing.
        """
        if not isinstance(node, Mapping):
            raise UserError(not_settings(at, node))
        given: dict[str, Any] = {}
        for name, (hint, _) in cls.declared().items():
            place = f"{at}.{name}" if at else name
            if name in node:
                given[name] = _made(hint, node[name], place)
            elif cls.needs(name):
                raise UserError(f"{place}: missing: choose a file of its group, or give a value")
        return cls(**given, extra={str(key): value for key, value in node.items() if key not in given})

    def as_dict(self) -> dict[str, Any]:
        """Return the containers that it was built from."""
        values: dict[str, Any] = {}
        for name, (hint, _) in self.declared().items():
            value = getattr(self, name)
            if isinstance(value, Record):
                values[name] = value.as_dict()
            elif _record(hint) is None:  # a record that is None was absent
                values[name] = value
        return {**values, **self.extra}

    def deciding(self, stage: Stage) -> dict[str, Any]:
        """Return the values that are part of a stage's key, nested as in the config."""
        whole = self.as_dict()
        off = {key for key, value in leaves(whole) if value in self.role_of(key).off}
        return selected(whole, lambda key: key not in off and self.role_of(key).decides(stage))

    @classmethod
    def needs(cls, name: str) -> bool:
        """Return whether a field has no default."""
        return name in {own.name for own in fields(cls) if own.default is own.default_factory}

    @classmethod
    @functools.cache
    def declared(cls) -> dict[str, tuple[Any, Role]]:
        """Return the type and the role of each field but `extra`."""
        hints = typing.get_type_hints(cls, include_extras=True)
        return {name: _with_role(hint) for name, hint in hints.items() if name != "extra"}

    @classmethod
    def values(cls, at: str = "") -> Iterator[tuple[str, Any, Role]]:
        """Yield the dotted key, the type and the role of every value below."""
        for name, (hint, role) in cls.declared().items():
            key = f"{at}.{name}" if at else name
            if record := _record(hint):
                yield from record.values(key)
            else:
                yield key, hint, role

    @classmethod
    def role_of(cls, key: str) -> Role:
        """Return the role of a dotted key."""
        name, _, rest = key.partition(".")
        hint, role = cls.declared().get(name, (None, SOURCE))
        record = _record(hint)
        return record.role_of(rest) if record and rest else role.below(rest)


def not_settings(at: str, value: Any) -> str:
    """Return the message for a value in the place of a group of settings."""
    return f"{at}={value}: a group of settings belongs there: choose one of its files by {at.replace('.', '/')}=NAME"


def _with_role(hint: Any) -> tuple[Any, Role]:
    """Return a field's type and role from its annotation; a record's values have roles of their own."""
    if typing.get_origin(hint) is not Annotated:
        return hint, SOURCE
    kind, *more = typing.get_args(hint)
    *ranges, role = more
    return (Annotated[(kind, *ranges)] if ranges else kind), role


def _record(hint: Any) -> type[Record] | None:
    """Return the record class of a type, which may be optional; None if it has none."""
    for kind in (hint, *typing.get_args(hint)):
        if isinstance(kind, type) and issubclass(kind, Record):
            return kind
    return None


def _made(hint: Any, value: Any, at: str) -> Any:
    record = _record(hint)
    return value if record is None or (value is None and record is not hint) else record.of(value, at)
