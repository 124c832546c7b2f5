"""Turns a composed config into a typed record and into objects: past this point, there are no Hydra configs."""

import functools
from collections.abc import Mapping
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from recsys_lora.config.check import RESERVED, check, imported
from recsys_lora.config.method_rules import refuse_unfit
from recsys_lora.config.record import PreparationConfig, RunConfig
from recsys_lora.config.typed import not_settings
from recsys_lora.utils.errors import UserError

METHOD_ATTRIBUTES = ("needs_backbone", "needs_encoder")
"""Attributes of the class that `model` names; they decide which stages a run has."""
_MISSING = {
    "model": "there is no method: choose one by model=NAME",
    "first": "model={model} has no first stage: choose one that has, as model=cora_tuned",
}


def read_run(cfg: DictConfig) -> RunConfig:
    """Return a run's config as a checked record, all interpolations resolved.

    Raises:
        UserError: a value is missing or has the wrong type, range or choice, or options of a method do not go together;
            the message names all such values.
    """
    _refuse_other_classes(cfg)
    if cfg.name is None:
        cfg = cfg.copy()
        cfg.name = _default_name(cfg)
    read = check(containers(cfg))
    config = RunConfig.of(read)
    refuse_unfit(read)
    return config


def read_preparation(cfg: DictConfig) -> PreparationConfig:
    """Return the config of a preparation alone, like `read_run`."""
    return PreparationConfig.of(check(containers(cfg)))


def recorded_run(config: Mapping[str, Any]) -> RunConfig:
    """Return a run's recorded config as a checked record; nothing in it is resolved.

    Options without effect are accepted, as in older versions.

    Args:
        config: plain containers, as `recorded.read_recorded` returns them.

    Raises:
        UserError: see `read_run`.
    """
    read = check(config)
    _refuse_other_classes(read)
    made = RunConfig.of(read)
    refuse_unfit(read, ["impossible"])
    return made


def containers(cfg: DictConfig, resolve: bool = True) -> dict[str, Any]:
    """Return a config as plain containers.

    Args:
        cfg: the composed config.
        resolve: replace interpolations by their values, and refuse missing ones.
    """
    made = OmegaConf.to_container(cfg, resolve=resolve, throw_on_missing=resolve)
    assert isinstance(made, dict)
    return {str(key): value for key, value in made.items()}


def _refuse_other_classes(config: Mapping[str, Any]) -> None:
    """Refuse a `model` or `first` that names no method."""
    for key in ("model", "first"):
        node = config.get(key)
        if not isinstance(node, Mapping | DictConfig):
            continue
        if "_target_" not in node:
            given = ", ".join(f"{key}.{name}" for name in node) or key
            raise UserError(f"{given}: {_MISSING[key].format(model=config['model'].get('name'))}")
        if not all(hasattr(imported(node["_target_"], key), name) for name in METHOD_ATTRIBUTES):
            raise UserError(
                f"{key}._target_={node['_target_']}: no method: name a class derived from "
                "recsys_lora.methods.base.LLMRecommender, or choose a file by model=NAME"
            )


def _default_name(cfg: DictConfig) -> str:
    built_on = cfg.cf.name if imported(cfg.model["_target_"], "model").needs_encoder else cfg.model.name
    parts = [cfg.model.name, cfg.data.name, *([] if built_on == cfg.model.name else [built_on])]
    return "-".join(map(str, parts))


def build(node: Any, at: str = "") -> Any:
    """Build the object that a node's `_target_` names, as `hydra.utils.instantiate` does, nested nodes first.

    Hydra resolves interpolations on the way, repeatedly. Here, strings stay as they are: a recorded config may come
    from someone else (see `recsys_lora.config.recorded`), and a prompt may contain `${`.

    Args:
        node: plain containers; with `_partial_: true` the result is the callable with its arguments bound, with
            `_recursive_: false` nested nodes are passed on as they are.
        at: the node's place in the config, for messages.

    Raises:
        UserError: the node is not a mapping, or the object's own checks fail; the message names the key.
    """
    if not isinstance(node, Mapping):
        raise UserError(not_settings(at, node))
    return _made(node, at)


def _made(value: Any, place: str) -> Any:
    if isinstance(value, list):
        return [_made(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    nested = value.get("_recursive_", True)
    parts = {
        str(key): _made(part, f"{place}.{key}" if place else str(key)) if nested else part
        for key, part in value.items()
    }
    if "_target_" not in parts:
        return parts
    called, positional = get_object(parts["_target_"]), parts.get("_args_", [])
    named = {key: part for key, part in parts.items() if key not in RESERVED}
    if parts.get("_partial_", False):
        return functools.partial(called, *positional, **named)
    try:
        return called(*positional, **named)
    except UserError as error:
        raise UserError(f"{place}: {error}" if place else str(error)) from error
