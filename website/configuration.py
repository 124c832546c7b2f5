"""The configuration reference: one page per group, made from the yaml files and their comments."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from recsys_lora.config.variants import FILE as VARIANTS
from recsys_lora.config.variants import choices

TOP = "config"
INTERNAL = ("hydra/help", "hydra/job_logging")
"""Groups with internal texts and no options."""
COMMAND = re.compile(r"^ {2,}(python -m .*|make .*)$")
LONGEST = 70
"""Maximum characters of a value in a table."""
INTRODUCTION = [
    "# Configuration",
    "",
    "Every group with its choices, and every key with its default: made of the yaml files in `conf/` and their",
    "comments. A key is typed as it stands here: `model.rank=8`. A choice that begins with `_` is a part that",
    "others share. `recsys-lora run --help` shows the groups, `recsys-lora run model=ckf --cfg job` what a",
    "command composes.",
    "",
]


@dataclass(frozen=True)
class Key:
    """A key of a yaml file.

    Attributes:
        name: name as typed on the command line.
        value: its default as written; None for a node with further keys.
        about: its comment, "" if it has none.
    """

    name: str
    value: str | None
    about: str


@dataclass
class Described:
    """A yaml file.

    Attributes:
        name: name of the option.
        about: lines of the comment at its top.
        commands: commands in that comment.
        defaults: entries of its defaults list.
        keys: keys that it sets.
    """

    name: str
    about: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    defaults: list[str] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)


def groups(conf: Path) -> dict[str, list[Path]]:
    """Return the yaml files by group, parts of others (`_name`) last; top-level files are the group `config`."""
    found: dict[str, list[Path]] = {}
    for path in sorted(conf.rglob("*.yaml"), key=lambda path: (path.name.startswith("_"), path.name)):
        group = path.parent.relative_to(conf).as_posix()
        if group not in INTERNAL:
            found.setdefault(TOP if group == "." else group, []).append(path)
    return dict(sorted(found.items(), key=lambda one: (one[0] != TOP, one[0])))


def offered(conf: Path, group: str) -> str:
    """Return the options of a group, formatted as code."""
    return ", ".join(f"`{name}`" for name in choices(conf, "." if group == TOP else group))


def described(path: Path, group: str) -> Described:
    """Read a yaml file with its comments.

    Args:
        path: the file.
        group: its group, which contains its keys; `@package _global_` at its top moves them to the config's top level.
    """
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    made = Described(path.stem)
    package = "" if group == TOP else f"{group.replace('/', '.')}."
    for line in _comment_from(lines, 0):
        if line.startswith("@package"):
            package = "" if line.split()[1] == "_global_" else f"{line.split()[1]}."
        elif command := COMMAND.match(f"  {line}" if line.startswith(("python -m", "make ")) else line):
            made.commands.append(command[1])
        else:
            made.about.append(line.strip())
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if isinstance(node, yaml.MappingNode):
        variants = path.name == VARIANTS
        for key, value in node.value:
            if key.value == "defaults" and not variants:
                made.defaults = [_source(text, entry) for entry in value.value]
            else:
                made.keys += _keys("" if variants else package, key, value, text, lines, deep=not variants)
    return made


def page(conf: Path, group: str, files: Sequence[Path]) -> str:
    """Return the page of a config group as Markdown."""
    title = "The top of the config" if group == TOP else f"`{group}`"
    parts = [f"# {title}", ""]
    if group != TOP:
        parts += [f"Chosen by `{group}=NAME`: {offered(conf, group)}.", ""]
    for path in files:
        parts += _section(described(path, group), path.name == VARIANTS)
    return "\n".join(parts)


def _section(one: Described, variants: bool) -> list[str]:
    """Return the section of a page on one file."""
    parts = [f"## {'Choices in one line each' if variants else one.name}", "", " ".join(one.about), ""]
    if one.commands:
        parts += ["```bash", *one.commands, "```", ""]
    if one.defaults:
        parts += [f"Composed of {', '.join(f'`{entry}`' for entry in one.defaults)}; what stands here counts.", ""]
    if one.keys:
        head = ("name", "stands for", "") if variants else ("key", "default", "")
        parts += [f"| {head[0]} | {head[1]} | what it does |", "|---|---|---|"]
        parts += [_row(key) for key in one.keys] + [""]
    return parts


def _row(key: Key) -> str:
    value = "" if key.value is None else f"`{_cell(key.value)}`"
    return f"| `{key.name}` | {value} | {_cell(key.about)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _keys(
    above: str, key: yaml.Node, value: yaml.Node, text: str, lines: Sequence[str], deep: bool = True
) -> Iterator[Key]:
    """Yield a key and the keys below it."""
    name, at = f"{above}{key.value}", key.start_mark.line
    first_of_line = not lines[at][: key.start_mark.column].strip()
    about = _comment_above(lines, at) if first_of_line else ""
    inner = isinstance(value, yaml.MappingNode) and bool(value.value) and deep
    if inner:
        if about:
            yield Key(name, None, about)
        for below, held in value.value:
            yield from _keys(f"{name}.", below, held, text, lines)
        return
    beside = re.search(r"\s#\s(.*)$", lines[value.end_mark.line if value.end_mark.column else at])
    yield Key(name, _short(_source(text, value)), " ".join(filter(None, (about, beside and beside[1]))))


def _comment_above(lines: Sequence[str], at: int) -> str:
    """Return the comment that ends just above a line, joined; a comment at the top belongs to the file."""
    first = at
    while first and lines[first - 1].lstrip().startswith("# "):
        first -= 1
    return "" if first == 0 else " ".join(line.strip().removeprefix("# ") for line in lines[first:at])


def _comment_from(lines: Sequence[str], at: int) -> Iterator[str]:
    """Yield the lines of the comment that begins at line `at`."""
    for line in lines[at:]:
        if not line.startswith("#"):
            return
        yield line.removeprefix("#").removeprefix(" ")


def _source(text: str, node: yaml.Node) -> str:
    """Return the source of a node on one line."""
    return " ".join(text[node.start_mark.index : node.end_mark.index].split())


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4].rstrip()} ..."
