"""From a composed config to plain values and objects: past this point nothing knows of Hydra."""

import re
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from recsys_lora.config.check import check
from recsys_lora.errors import UserError

Config = dict[str, Any]


def plain(cfg: DictConfig) -> Config:
    """Return the config as checked plain containers, all interpolations resolved.

    Raises:
        UserError: a value has the wrong type, range or choice; all such values are named.
    """
    if "name" in cfg and cfg.name is None:
        cfg = cfg.copy()
        cfg.name = _default_name(cfg)
    config = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert isinstance(config, dict)
    named: Config = {str(key): value for key, value in config.items()}
    check(named)
    return named


def _default_name(cfg: DictConfig) -> str:
    """Return model-data, and the CF model where the model is built on one."""
    built_on = cfg.cf.name if get_object(cfg.model["_target_"]).needs_encoder else cfg.model.name
    parts = [cfg.model.name, cfg.data.name, *([] if built_on == cfg.model.name else [built_on])]
    return "-".join(parts)


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


def build(node: Any, at: str = "") -> Any:
    """Make the object that a node's `_target_` names.

    Args:
        node: plain containers; with `_partial_: true` the result is the callable with its knobs bound.
        at: the node's place in the config, for messages.

    Raises:
        UserError: the node is no settings, or what the object's own checks find wrong; the line names the key.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    if not isinstance(node, dict):
        group = at.replace(".", "/")
        raise UserError(f"{at}={node}: a group of settings belongs there: choose one of its files by {group}=NAME")
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        if not isinstance(error.__cause__, UserError):
            raise
        inner = re.search(r"full_key: (\S+)", str(error))
        place = ".".join(part for part in (at, inner.group(1) if inner else "") if part)
        raise UserError(f"{place}: {error.__cause__}" if place else str(error.__cause__)) from error
