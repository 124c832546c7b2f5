"""From a composed config to a typed record and to objects: past this point nothing knows of Hydra."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from recsys_lora.config.check import check
from recsys_lora.config.record import PreparationConfig, RunConfig
from recsys_lora.config.typed import Record, not_settings
from recsys_lora.utils.errors import UserError

R = TypeVar("R", bound=Record)


def read_run(cfg: DictConfig) -> RunConfig:
    """Return a run's config as a checked record, all interpolations resolved.

    Raises:
        UserError: a value is missing or has the wrong type, range or choice; all such values are named.
    """
    if cfg.name is None:
        cfg = cfg.copy()
        cfg.name = _default_name(cfg)
    return _read(cfg, RunConfig)


def read_preparation(cfg: DictConfig) -> PreparationConfig:
    """Return the config of a preparation alone, as `read_run` does."""
    return _read(cfg, PreparationConfig)


def containers(cfg: DictConfig, resolve: bool = True) -> dict[str, Any]:
    """Return a config as plain containers.

    Args:
        cfg: the composed config.
        resolve: put values in the place of interpolations, and refuse missing ones.
    """
    made = OmegaConf.to_container(cfg, resolve=resolve, throw_on_missing=resolve)
    assert isinstance(made, dict)
    return {str(key): value for key, value in made.items()}


def _read(cfg: DictConfig, record: type[R]) -> R:
    config = containers(cfg)
    check(config)
    return record.of(config)


def _default_name(cfg: DictConfig) -> str:
    """Return model-data, and the CF model where the model is built on one."""
    built_on = cfg.cf.name if get_object(cfg.model["_target_"]).needs_encoder else cfg.model.name
    parts = [cfg.model.name, cfg.data.name, *([] if built_on == cfg.model.name else [built_on])]
    return "-".join(parts)


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

    if not isinstance(node, Mapping):
        raise UserError(not_settings(at, node))
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        if not isinstance(error.__cause__, UserError):
            raise
        inner = re.search(r"full_key: (\S+)", str(error))
        place = ".".join(part for part in (at, inner.group(1) if inner else "") if part)
        raise UserError(f"{place}: {error.__cause__}" if place else str(error.__cause__)) from error
