"""From a composed config to plain values and objects: past this point nothing knows of Hydra."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from recsys_lora.config.check import check

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


def build(node: Config, **arguments: Any) -> Any:
    """Make the object that a node's `_target_` names.

    Args:
        node: plain containers; with `_partial_: true` the result is the callable with its knobs bound.
        arguments: what only the pipeline knows.
    """
    from hydra.utils import instantiate

    made = instantiate(node, _convert_="all")
    return made(**arguments) if arguments else made
