"""The text of `--help`: one screen; with `all` or with overrides everything, as Hydra prints it.

Hydra copies its whole view of the configs for every group that it lists. Here the groups are read from the folders of
conf/, which takes a third of the time. If a command line names further folders or other flags, Hydra prints the text
itself.
"""

import re
import string
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf, open_dict

from recsys_lora.config.paths import GROUPS, conf_dir, options

HELP = ({"--help"}, {"-h"})
ALL = "all"
SEARCH_PATH = "hydra.searchpath"
WIDTH = 79
NAME, DEFAULT = 16, 14
"""Characters of the screen and of its first two columns."""


def asked(arguments: Sequence[str]) -> bool:
    """Return whether a command line asks for help, alone or with overrides that need only conf/."""
    flags = {argument for argument in arguments if argument.startswith("-")}
    return flags in HELP and not any(SEARCH_PATH in argument for argument in arguments)


def text(config_name: str, about: str, arguments: Sequence[str]) -> str:
    """Return the help of a command.

    Args:
        config_name: the yaml file at the top of conf/ that the command composes.
        about: the yaml file in conf/hydra/help/ with its first lines.
        arguments: the command line; `all` shows everything, and so do overrides, which apply to the config shown.

    Raises:
        HydraException: an override is wrong.
    """
    given = [argument for argument in arguments if not argument.startswith("-")]
    return (
        _everything(config_name, about, [one for one in given if one != ALL]) if given else _screen(config_name, about)
    )


def _everything(config_name: str, about: str, overrides: Sequence[str]) -> str:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        cfg = compose(config_name, overrides=[f"hydra/help={about}", *overrides], return_hydra_config=True)
    template = string.Template(cfg.hydra.help.template)
    with open_dict(cfg):
        del cfg["hydra"]
    groups = sorted(_folders(conf_dir()) if config_name == "config" else _defaults(config_name))
    listed = "".join(f"{group}: {', '.join(options(group))}\n" for group in groups)
    return template.substitute(APP_CONFIG_GROUPS=listed, CONFIG=OmegaConf.to_yaml(cfg))


def _folders(root: Path) -> Iterator[str]:
    """Yield the groups that have options, without Hydra's own."""
    for folder in root.rglob("*"):
        group = folder.relative_to(root).as_posix()
        if folder.is_dir() and group.split("/")[0] != "hydra" and options(group):
            yield group


def _screen(config_name: str, about: str) -> str:
    """Return one line per group and per key, none longer than a narrow terminal."""
    pages = conf_dir() / "hydra" / "help"
    page: Any = OmegaConf.merge(OmegaConf.load(pages / "run.yaml"), OmegaConf.load(pages / f"{about}.yaml"))
    defaults = _defaults(config_name)
    groups = [(group, defaults[group], options(group)) for group in GROUPS if group in defaults]
    if config_name == "config":
        groups.append(("hydra/launcher", "basic", [*options("hydra/launcher")]))
    chosen = [_group(*one) for one in groups if one[2] != [one[1]]]
    head = f"{'group':<{NAME}}{'default':<{DEFAULT}}other choices"
    keys = [_cut(f"{f'{key}={value}':<{NAME}}  {purpose}") for key, value, purpose in _keys(config_name)]
    return "\n".join([page.header, head, *chosen, "", "key=default", *keys, "", page.footer]).rstrip()


def _defaults(config_name: str) -> dict[str, str | None]:
    """Return the groups that a config composes at its top level, and its choice for each."""
    composed: Any = OmegaConf.to_container(OmegaConf.load(conf_dir() / f"{config_name}.yaml"))
    chosen = [next(iter(entry.items())) for entry in composed["defaults"] if isinstance(entry, dict)]
    return {group: choice for group, choice in chosen if group in GROUPS}


def _group(name: str, default: str | None, choices: Sequence[str]) -> str:
    """Return a group's line, with as many of its choices as fit."""
    others = [choice for choice in choices if choice != default]
    start = f"{name:<{NAME}}{default or '-':<{DEFAULT}}"
    for shown in range(len(others), 0, -1):
        rest = f", ... {len(others) - shown} more" if shown < len(others) else ""
        if len(line := f"{start}{', '.join(others[:shown])}{rest}") <= WIDTH:
            return line
    return f"{start}{len(others)}"


def _keys(config_name: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, default and the beginning of the comment of each top-level key with a single value."""
    comment: list[str] = []
    for line in (conf_dir() / f"{config_name}.yaml").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            comment.append(line.removeprefix("# "))
            continue
        if found := re.match(r"(\w+): ([^#\s].*)", line):
            yield found[1], found[2].strip(), re.split(r"[;:.](?:\s|$)", " ".join(comment))[0]
        comment = []


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 3].rpartition(" ")[0] + " ..."
