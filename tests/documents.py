"""The commands that README, docs and yaml files tell people to type."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from recsys_lora.config.paths import conf_dir

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
OVERRIDES = re.compile(r"[+~]*[a-z_]+[a-z_0-9./]*=[^\s=]+( [+~]*[a-z_]+[a-z_0-9./]*=[^\s=]+)*")
OURS = re.compile(r"(?:python -m recsys_lora\.|recsys-lora )(run|prepare)(?: (.*))?")


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        place: file and line.
        text: as it stands there, without comment.
        bare: overrides in a sentence, to which the command has been added.
    """

    place: str
    text: str
    bare: bool = False

    @property
    def ours(self) -> tuple[str, list[str]] | None:
        """Which config it composes and its arguments; None for another program's command."""
        found = OURS.fullmatch(self.text)
        if found is None:
            return None
        return ("prepare" if found.group(1) == "prepare" else "config"), shlex.split(found.group(2) or "")


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def fenced(path: Path) -> Iterator[Command]:
    """Yield the commands of shell blocks: all of a ```bash block, ours alone of a block without a language."""
    text = path.read_text()
    for block in FENCE.finditer(text):
        language, body = block.groups()
        if language not in ("bash", "sh", ""):
            continue
        start = text.count("\n", 0, block.start()) + 2
        for number, line in _whole_lines(body, start):
            command = Command(f"{path.name}:{number}", line)
            if language or command.ours:
                yield command


def inline(path: Path) -> Iterator[Command]:
    """Yield what stands in single backticks and is a command of ours, or overrides alone."""
    text = FENCE.sub(lambda block: "\n" * block.group().count("\n"), path.read_text())
    for span in INLINE.finditer(text):
        place = f"{path.name}:{text.count(chr(10), 0, span.start()) + 1}"
        if OURS.fullmatch(span.group(1)) and "..." not in span.group(1):
            yield Command(place, span.group(1))
        elif OVERRIDES.fullmatch(span.group(1)) and "..." not in span.group(1):
            yield Command(place, f"python -m recsys_lora.run {span.group(1)}", bare=True)


def of_yaml(path: Path) -> Iterator[Command]:
    """Yield the commands in a yaml's comments."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if found := re.match(r"#\s+(python -m recsys_lora\..*)", line):
            yield Command(f"{path.relative_to(conf_dir())}:{number}", _without_comment(found.group(1)))


def single(arguments: list[str]) -> list[str]:
    """Return a command's overrides, of each sweep its first value; without flags and dots."""
    chosen = []
    for override in parsed([one for one in arguments if not one.startswith("-") and one != "..."]):
        if override.is_sweep_override():
            chosen.append(f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}")
        else:
            chosen.append(override.input_line or "")
    return chosen


def parsed(overrides: list[str]) -> list[Override]:
    """Return overrides as Hydra reads them; a glob knows the choices."""
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        return parser.parse_overrides(overrides)


def _whole_lines(body: str, start: int) -> Iterator[tuple[int, str]]:
    pending, first = "", start
    for number, line in enumerate(body.splitlines(), start):
        first = first if pending else number
        pending += line.removesuffix("\\")
        if not line.endswith("\\"):
            if command := _without_comment(pending):
                yield first, command
            pending = ""


def _without_comment(line: str) -> str:
    return re.sub(r"(^|\s+)#.*", "", line).strip()
