"""The text of `--help`: the one that Hydra prints, in a third of its time.

Hydra copies its whole view of the configs for every group that it lists. Here the groups are read from the folders of
conf/. Where a command line names further folders or other flags, Hydra prints the text itself.
"""

import string
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf, open_dict

from recsys_lora.config.paths import conf_dir, options

HELP = ({"--help"}, {"-h"})
SEARCH_PATH = "hydra.searchpath"


def asked(arguments: Sequence[str]) -> bool:
    """Tell whether a command line asks for help and for nothing else but overrides that need only conf/."""
    flags = {argument for argument in arguments if argument.startswith("-")}
    return flags in HELP and not any(SEARCH_PATH in argument for argument in arguments)


def text(config_name: str, arguments: Sequence[str]) -> str:
    """Return the help of a command.

    Args:
        config_name: the yaml file at the top of conf/ that the command composes.
        arguments: the command line; its overrides change the config that is shown.

    Raises:
        HydraException: an override is wrong.
    """
    from hydra import compose, initialize_config_dir

    overrides = [argument for argument in arguments if not argument.startswith("-")]
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        cfg = compose(config_name, overrides=overrides, return_hydra_config=True)
    template = string.Template(cfg.hydra.help.template)
    with open_dict(cfg):
        del cfg["hydra"]
    return template.substitute(APP_CONFIG_GROUPS=_listed(conf_dir()), CONFIG=OmegaConf.to_yaml(cfg))


def _listed(root: Path) -> str:
    """Return one line a group, sorted: its name and its choices."""
    lines = []
    for folder in sorted(path for path in root.rglob("*") if path.is_dir()):
        group = folder.relative_to(root).as_posix()
        names = options(group)
        if names and group.split("/")[0] != "hydra":
            lines.append((group, f"{group}: {', '.join(names)}\n"))
    return "".join(line for _, line in sorted(lines))
