"""Configs that a run has written, read as plain values: a run's folder may come from someone else.

Nothing in such a file is run or looked up. Interpolations stay plain text (`${oc.env:TOKEN}`), tags create no objects,
and aliases are refused: a run writes none, and a few lines of them can expand to gigabytes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import write_text

MOST_BYTES, MOST_DEPTH = 4 * 2**20, 64
"""Limits of a file's size and nesting; a run's config has some 20,000 bytes in six levels."""
SCALARS = (str, int, float, bool, type(None))
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # the library has no types
    """Writes a container that occurs twice in full, not as an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def write_recorded(path: Path, config: Mapping[str, Any]) -> None:
    """Write a config of plain containers, atomically; `read_recorded` returns the same."""
    write_text(path, yaml.dump(dict(config), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


def read_recorded(path: Path) -> dict[str, Any]:
    """Read a config.

    Returns:
        Plain containers; interpolations are not resolved.

    Raises:
        UserError: it cannot be read, or is not a YAML mapping of plain values.
    """
    found = _read(path)
    if not isinstance(found, dict):
        raise _refused(path, "no settings are in it")
    return found


def read_overrides(path: Path) -> list[str]:
    """Read the overrides that a run was started with, as typed.

    Raises:
        UserError: it cannot be read, or is not a list of strings.
    """
    found = _read(path)
    if not isinstance(found, list) or not all(isinstance(line, str) for line in found):
        raise _refused(path, "no list of overrides")
    return found


def merged(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config with some of its values changed, at any depth."""
    result = dict(config)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise _refused(path, f"it has more than {MOST_BYTES // 2**20} MiB")
        text = path.read_text(encoding="utf-8")
        _refuse_bombs(path, text)
        return _plain(path, yaml.load(text, LOADER))
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise _refused(path, f"no YAML: {problem}") from error
    except OSError as error:
        raise _refused(path, str(error.strerror)) from error
    except (ValueError, OverflowError) as error:  # bytes that are not UTF-8, an invalid date or number
        raise _refused(path, str(error).splitlines()[0]) from error


def _refuse_bombs(path: Path, text: str) -> None:
    """Refuse a text with aliases, or nested too deep, before objects are made from it."""
    depth = 0
    for event in yaml.parse(text, LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise _refused(path, "it has YAML aliases")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH:
            raise _refused(path, f"it is nested more than {MOST_DEPTH} deep")


def _plain(path: Path, value: Any) -> Any:
    """Return containers with strings as keys; refuse values that no config has: a date, a set, bytes."""
    if isinstance(value, dict):
        return {str(key): _plain(path, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(path, item) for item in value]
    if not isinstance(value, SCALARS):
        raise _refused(path, f"a value in it is a {type(value).__name__}")
    return value


def _refused(path: Path, reason: str) -> UserError:
    return UserError(f"{path}: cannot be read as what a run writes ({reason}): leave it out, or run it again")
