"""Checks every value against the signature it is passed to: type, range and choice, before any stage runs.

A config node with `_target_` is a call. Its keys are bound to the callable's arguments and each value is checked
against that argument's annotation, so that an option is declared once, where it is used. Nodes without `_target_` are
checked against the records in `record.py`. All mismatches are reported at once.

An integer for a float argument becomes a float, so that `model.alpha=32` and `model.alpha=32.0` are the same run. If an
annotation allows both, they differ, as in Lightning's `limit_train_batches`.
"""

import dataclasses
import inspect
import math
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from recsys_lora.config.hints import suggestion
from recsys_lora.config.located import located, why_not
from recsys_lora.config.record import PreparationConfig, RunConfig
from recsys_lora.config.roles import leaves
from recsys_lora.config.typed import not_settings
from recsys_lora.utils.errors import UserError, refused

_VALUES = {key: hint for record in (PreparationConfig, RunConfig) for key, hint, _ in record.values()}
"""Types of the values that belong to no object, by dotted key."""
RESERVED = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_"}
NAMES = ("model.name", "data.name", "cf.name", "search.study")
"""Values that become part of file and folder names."""


def refuse_unusable(config: Mapping[str, Any]) -> None:
    """Refuse values that no run can use, before they name a folder: NaN, infinity, names that would be other folders.

    Args:
        config: plain containers; interpolations may be unresolved.

    Raises:
        UserError: names every such value, separated by semicolons.
    """
    if found := dict(_unusable(config)):
        raise UserError("; ".join(found.values()))


def _unusable(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the key of each such value, and its error message."""
    for key, value in leaves(config):
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, float) and not math.isfinite(number):
                yield key, f"{key}={number}: give a finite number"
        if key in NAMES and isinstance(value, str) and (not value.strip(".") or set(value) & set("/\\\0")):
            yield key, f"{key}={value}: it becomes a folder's name: leave out slashes"


def imported(target: Any, key: str) -> Any:
    """Return the object that a `_target_` names.

    Raises:
        UserError: it cannot be imported.
    """
    if not isinstance(target, str):
        raise UserError(f"{key}._target_={target}: no name of a class or function: give one")
    try:
        return located(target)
    except Exception as error:  # importing may raise anything: in any case, the target cannot be used
        raise UserError(
            f"{key}._target_={target}: cannot be imported ({why_not(target, error)}): correct it, or put the folder of "
            "its package on PYTHONPATH"
        ) from error


def check(config: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """Check a resolved config.

    Args:
        config: plain containers, interpolations resolved.
        at: its dotted key, for messages; empty for a whole config.

    Returns:
        The config, each number of the type that its annotation names.

    Raises:
        UserError: names every mismatch, separated by semicolons.
    """
    found = dict(_unusable(config))
    read: dict[str, Any] = _read(config, at, found)
    if found:
        raise UserError("; ".join(found.values()))
    return read


def mismatches(config: Mapping[str, Any], at: str = "") -> list[str]:
    """Return a message for each value that does not fit, depth first."""
    found: dict[str, str] = {}
    _read(config, at, found)
    return list(found.values())


def _read(value: Any, at: str, found: dict[str, str]) -> Any:
    """Return a value with its numbers as annotated; add a message to `found` for each key that does not fit.

    A key has one message: the first that is found.
    """
    if isinstance(value, Mapping):
        own = _call(value, at, found) if "_target_" in value else _plain(value, at, found)
        return {key: _read(item, f"{at}.{key}" if at else str(key), found) for key, item in own.items()}
    if isinstance(value, list):
        return [_read(item, f"{at}[{index}]", found) for index, item in enumerate(value)]
    return value


def _call(node: Mapping[str, Any], at: str, found: dict[str, str]) -> dict[str, Any]:
    target, read = node["_target_"], dict(node)
    try:
        called = imported(target, at)
        arguments, hints = signature(called)
    except UserError as error:
        found.setdefault(f"{at}._target_", str(error))
        return read
    except (TypeError, ValueError) as error:  # it has no signature
        reason = f"nothing that settings can be given to ({error}): name a class or a function"
        found.setdefault(f"{at}._target_", f"{at}._target_={target}: {reason}")
        return read
    open_ended = any(p.kind is p.VAR_KEYWORD for p in arguments.values())
    given = {str(key): value for key, value in node.items() if key not in RESERVED}
    for key, value in given.items():
        if key in arguments and arguments[key].kind is not inspect.Parameter.VAR_KEYWORD:
            if key in hints:
                read[key] = _fitted(value, hints[key], f"{at}.{key}", found)
        elif not open_ended:
            line = f"{at}.{key}: {target} takes no such argument: {suggestion(key, list(arguments))}"
            found.setdefault(f"{at}.{key}", line)
    if not node.get("_partial_", False):
        for name, argument in arguments.items():
            named = argument.kind in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY)
            if named and argument.default is argument.empty and name not in given:
                found.setdefault(f"{at}.{name}", f"{at}.{name}: missing, {target} needs it")
    return read


def _plain(node: Mapping[str, Any], at: str, found: dict[str, str]) -> dict[str, Any]:
    read = dict(node)
    for key, value in node.items():
        path = f"{at}.{key}" if at else str(key)
        if path not in _VALUES:
            continue
        if typing.get_origin(_VALUES[path]) is Mapping and not isinstance(value, Mapping):
            found.setdefault(path, not_settings(path, value))
        else:
            read[key] = _fitted(value, _VALUES[path], path, found)
    return read


def signature(called: Any) -> tuple[dict[str, inspect.Parameter], dict[str, Any]]:
    """Return a callable's arguments and their annotations; `**shared: Unpack[Record]` counts as the record's keys."""
    arguments = dict(inspect.signature(called).parameters)
    function = called.__init__ if inspect.isclass(called) else called
    hints = typing.get_type_hints(function, include_extras=True)
    for name, argument in list(arguments.items()):
        if argument.kind is argument.VAR_KEYWORD and typing.get_origin(hints.get(name)) is typing.Unpack:
            record = typing.get_args(hints.pop(name))[0]
            del arguments[name]
            for key, hint in typing.get_type_hints(record, include_extras=True).items():
                default = argument.empty if key in record.__required_keys__ else None
                arguments[key] = inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default)
                hints[key] = typing.get_args(hint)[0] if typing.get_origin(hint) is typing.NotRequired else hint
    return arguments, hints


def _fitted(value: Any, annotation: Any, at: str, found: dict[str, str]) -> Any:
    """Return a value with its numbers as annotated; the result of a nested call is not checked."""
    if _holds_call(value):
        return value
    try:
        config = _STRICT if _configurable(annotation) else None
        read = TypeAdapter(annotation, config=config).validate_python(value, strict=True)
    except ValidationError as error:
        found.setdefault(at, refused(at, value, error))
        return value
    return _with_floats(value, read)


def _with_floats(given: Any, read: Any) -> Any:
    """Return a value as it was given, except for integers that were read as floats."""
    if isinstance(given, Mapping) and isinstance(read, Mapping):
        return {key: _with_floats(item, read.get(key, item)) for key, item in given.items()}
    if isinstance(given, list) and isinstance(read, list | tuple):
        return [_with_floats(item, other) for item, other in zip(given, read, strict=True)]
    return read if isinstance(read, float) and isinstance(given, int) else given


_STRICT = ConfigDict(arbitrary_types_allowed=True)


def _configurable(annotation: Any) -> bool:
    """Return whether pydantic takes a config for a type: not if it can have its own."""
    own = inspect.isclass(annotation) and (
        issubclass(annotation, BaseModel) or hasattr(annotation, "__pydantic_config__")
    )
    return not (own or dataclasses.is_dataclass(annotation) or typing.is_typeddict(annotation))


def _holds_call(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "_target_" in value or any(_holds_call(item) for item in value.values())
    return isinstance(value, list) and any(_holds_call(item) for item in value)
