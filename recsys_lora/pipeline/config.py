"""From a composed config to plain values and objects: past this point nothing knows of Hydra."""

import re
from typing import Any

from omegaconf import DictConfig, OmegaConf

from recsys_lora.config.check import check
from recsys_lora.errors import UserError

Config = dict[str, Any]


def plain(cfg: DictConfig) -> Config:
    """Return the config as checked plain containers, all interpolations resolved.

    Raises:
        UserError: a value has the wrong type, range or choice; all such values are named.
    """
    config = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert isinstance(config, dict)
    named: Config = {str(key): value for key, value in config.items()}
    check(named)
    return named


WITH_FOLDERS = ("callbacks", "logger", "paths")


def relocated(config: Config, old: str, new: str) -> Config:
    """Return a config whose callbacks, loggers and paths name, for every place in the folder `old`, one in `new`."""

    def moved(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: moved(value) for key, value in node.items()}
        if isinstance(node, list):
            return [moved(value) for value in node]
        inside = isinstance(node, str) and (node == old or node.startswith(f"{old}/"))
        return new + node[len(old) :] if inside else node

    return {key: moved(value) if key in WITH_FOLDERS else value for key, value in config.items()}


def build(node: Config, at: str = "") -> Any:
    """Make the object that a node's `_target_` names.

    Args:
        node: plain containers; with `_partial_: true` the result is the callable with its knobs bound.
        at: the node's place in the config, for messages.

    Raises:
        UserError: what the object's own checks find wrong; the line names the key.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        if not isinstance(error.__cause__, UserError):
            raise
        inner = re.search(r"full_key: (\S+)", str(error))
        place = ".".join(part for part in (at, inner.group(1) if inner else "") if part)
        raise UserError(f"{place}: {error.__cause__}" if place else str(error.__cause__)) from error
