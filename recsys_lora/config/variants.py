"""Choices of a config group that consist of a few overrides each, listed by name in one file.

`conf/GROUP/_variants.yaml` maps each name to overrides as typed on the command line:

    collm_joint: [first=null, model.tune_lora=true]

`GROUP=collm_joint` then stands for them, wherever Hydra reads choices: single runs, multiruns, `compose`, --help.
A list within the list, such as an alias `*others`, stands for its items.

A name with `-` combines choices of several groups, and is not a choice itself; `*` in it matches any. The defaults list
asks for it by interpolation, as `optional preset@_global_: ${preset}-${model}-${cf}-${data}`, and gets the overrides of
all matching lines, in the file's order; if two set one key, the later counts.
"""

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from recsys_lora.utils.errors import UserError

FILE = "_variants.yaml"
_SEVERAL = "-"
"""Joins the choices of several groups in a name."""
_HIDDEN = "_"
"""Prefix of a yaml that is a part of others, or lists variants, and is not a choice itself."""


def choices(conf: Path, group: str) -> list[str]:
    """Return a group's choices in a folder of yaml files, sorted: its files and its variants."""
    files = {path.stem for path in (conf / group).glob("*.yaml") if not path.stem.startswith(_HIDDEN)}
    return sorted(files | {name for name in variants(conf / group) if _SEVERAL not in name})


def variants(folder: Path) -> Mapping[str, Sequence[str]]:
    """Return the variants of a group's folder; empty if it lists none.

    Raises:
        UserError: the file is not a mapping of names to lists of overrides.
    """
    path = folder / FILE
    return _read(path, path.stat().st_mtime_ns) if path.is_file() else {}


def variant(folder: Path, name: str) -> Sequence[str] | None:
    """Return the overrides that a name stands for; None if the group's folder lists none.

    Raises:
        UserError: see `variants`.
    """
    listed = variants(folder).items()
    fitting = [overrides for key, overrides in listed if key == name or (_SEVERAL in key and fnmatchcase(name, key))]
    return list(itertools.chain.from_iterable(fitting)) if fitting else None


def as_config(conf: Path, overrides: Sequence[str]) -> DictConfig:
    """Return a variant as a config: choices of groups in its defaults list, and values.

    Args:
        conf: the folder of yaml files, which tells groups from values.
        overrides: `key=value` each.

    Raises:
        UserError: an override is a sweep, or adds or deletes something.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    made = OmegaConf.create({"defaults": []})
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if override.is_sweep_override() or override.is_delete() or override.is_add():
            raise UserError(f"{override.input_line}: a variant sets what is there, write key=value")
        key, value = override.get_key_element(), override.value()
        if (conf / key.partition("@")[0]).is_dir():
            made.defaults.append({f"override /{key}": value})
        else:
            OmegaConf.update(made, key, value)
    return made


@functools.lru_cache
def _read(path: Path, _changed: int) -> Mapping[str, Sequence[str]]:
    found: Any = OmegaConf.to_container(OmegaConf.load(path))
    if not isinstance(found, dict) or not all(isinstance(overrides, list) for overrides in found.values()):
        raise UserError(f"{path}: write a list of overrides for each name, as `no_graph: [model.beta=0.0]`")
    return {str(name): list(_flat(overrides)) for name, overrides in found.items()}


def _flat(overrides: Sequence[Any]) -> Iterator[str]:
    """Yield overrides; a list among them, such as an alias, stands for its items."""
    for override in overrides:
        if isinstance(override, list):
            yield from _flat(override)
        else:
            yield str(override)
