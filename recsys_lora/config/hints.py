"""One clear line for every way a command line can be wrong, with the closest valid names."""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from recsys_lora.config.paths import GROUPS, conf_dir, options
from recsys_lora.utils.errors import UserError


def suggestion(name: str, names: Sequence[str]) -> str:
    """Return "did you mean ...?" if a name is close, else the list of all valid names."""
    valid = sorted(set(names))
    if near := difflib.get_close_matches(name, valid, cutoff=0.5):
        return f"did you mean {' or '.join(near)}?"
    return f"valid: {', '.join(valid)}" if valid else "nothing is valid here"


def explain(error: BaseException, overrides: Iterable[str] = ()) -> str | None:
    """Return one line for an error of Hydra or OmegaConf; None for any other exception.

    Args:
        error: the exception.
        overrides: the command's overrides, searched if Hydra names none.
    """
    if isinstance(error, MissingConfigException):
        return _missing_config(error)
    if isinstance(error, OverrideParseException):
        if "=~" in str(error.override):
            return f"{error.override}: a ~ stands for no folder here: write $HOME in its place"
        reason = str(error).splitlines()[0]
        return f"{error.override}: not an override Hydra can read ({reason}): write key=value, quote special characters"
    if isinstance(error, ConfigCompositionException):
        return _composition(error)
    if isinstance(error, InterpolationKeyError):
        return f"{_wanted(error)}: missing, but {error.full_key} refers to it: give it a value"
    if isinstance(error, OmegaConfBaseException) and str(error).startswith("Missing key "):
        return f"{error.full_key}: missing: give it a value"
    if isinstance(error, HydraException | OmegaConfBaseException):
        return " ".join(line.strip() for line in str(error).splitlines()[:2])
    if isinstance(error, ValueError) and str(error).startswith("Config group override"):
        return _nameless(overrides)
    return None


def _wanted(error: InterpolationKeyError) -> str:
    """Return the key that a value refers to."""
    named = re.search(r"Interpolation key '([^']+)'", str(error))
    return named.group(1) if named else "a key"


def _nameless(overrides: Iterable[str]) -> str:
    """Return the message for a group that is given something other than a name; Hydra does not say which."""
    parser = OverridesParser.create()
    for line in overrides:
        if line.startswith("-") or "=" not in line:  # an option of Hydra's command line, or its value
            continue
        override = parser.parse_override(line)
        group = override.key_or_group
        if (conf_dir() / group).is_dir() and not isinstance(override.value(), str | list):
            where = group or "a group"
            return f"{override.input_line}: {where} takes the name of one of its files: write {group or 'GROUP'}=NAME"
    return "a group takes the name of one of its files: write GROUP=NAME"


def refuse_missing(cfg: DictConfig) -> None:
    """Refuse a config with a mandatory value that was not given.

    Raises:
        UserError: names each such key; they are `???` in the chosen yaml.
    """
    if missing := sorted(OmegaConf.missing_keys(cfg)):
        given = " ".join(f"{key}=VALUE" for key in missing)
        raise UserError(f"{', '.join(missing)}: has to be given with what was chosen: add {given}")


def _missing_config(error: MissingConfigException) -> str:
    asked = error.missing_cfg_file or ""
    group, _, option = asked.rpartition("/")
    if not group:
        return f"{asked}: no such config: {suggestion(asked, list(error.options or []))}"
    return f"{group}={option}: no such option: {suggestion(option, list(error.options or options(group)))}"


def _composition(error: ConfigCompositionException) -> str:
    message = str(error).strip()
    if match := re.search(r"Could not override '([^']+)'", message):
        key = match.group(1)
        cause = error.__cause__ or error.__context__
        parent = getattr(cause, "parent_node", None)
        part, names = _within(key, parent)
        if part in names:
            return f"{key}: this command has no such option: leave it out; --help lists what it takes"
        return f"{key}: no such option: {suggestion(part, names)}; +{key}=VALUE adds a new key"
    cause = error.__cause__
    if cause is not None and message.startswith("Error merging override"):
        reason = str(cause).splitlines()[0]
        return f"{message.splitlines()[0].removeprefix('Error merging override ')}: {reason}"
    return " ".join(line.strip() for line in message.splitlines()[:2])


def _within(key: str, parent: Any) -> tuple[str, list[str]]:
    """Return the mistyped part of `key` with its path, and the names that exist there."""
    if parent is None or not OmegaConf.is_dict(parent):
        return key.split("@")[0], list(GROUPS)
    at = str(parent._get_full_key("") or "")
    names = [str(name) for name in parent if not str(name).startswith("_")]
    if not at:
        return key.split(".")[0].split("@")[0], [*names, *GROUPS]
    return key, [f"{at}.{name}" for name in names]
