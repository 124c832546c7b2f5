"""Verbs with a few `key=value` settings of their own: read, checked, explained; mistakes are one line."""

import math
import sys
import typing
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from recsys_lora.cli.user_errors import exit_on_user_error, plain_output
from recsys_lora.config.hints import suggestion
from recsys_lora.utils.errors import UserError, refused

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from recsys_lora.recommender.recommender import Recommender

S = TypeVar("S", bound="DataclassInstance")


@dataclass(frozen=True)
class Help:
    """What a setting is, in the annotation of its field."""

    text: str


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of the verbs that load a finished run."""

    run: Annotated[Path, Help("folder of the run, or of an exported bundle")]
    device: Annotated[str, Help("auto, cpu, cuda or cuda:N")] = "auto"
    trust: Annotated[str | None, Help("packages whose code the run may name, as my_package,other")] = None

    def load(self, folder: Path | None = None) -> "Recommender":
        """Load the run, or the one in another folder.

        Raises:
            UserError: as `recsys_lora.load`.
        """
        from recsys_lora.config.trust import packages
        from recsys_lora.recommender.load import load

        return load(folder or self.run, device=self.device, trust=packages(self.trust))


def answer(verb: str, kind: type[S], do: Callable[[S], None], arguments: Sequence[str] | None = None) -> None:
    """Run a command line.

    Args:
        verb: its name.
        kind: a dataclass whose fields are annotated by `Help`.
        do: what it does.
        arguments: as typed; None takes those of this process.

    Exit status: 0 done; 2 a user error, one line on standard error; 130 interrupted.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    if any(one in ("-h", "--help") for one in given):
        with plain_output():
            sys.stdout.write(page(verb, kind))
        return
    with exit_on_user_error():
        do(read(verb, kind, given))


def read(verb: str, kind: type[S], given: Sequence[str]) -> S:
    """Return the settings of a command line.

    Raises:
        UserError: one is unknown, given twice, missing, or of the wrong type or range.
    """
    known = {one.name: one for one in fields(kind)}
    values: dict[str, str] = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"{word}: write NAME=VALUE: recsys-lora {verb} --help names them")
        if name not in known:
            raise UserError(f"{name}: no setting of {verb}: {suggestion(name, list(known))}")
        if name in values:
            raise UserError(f"{name}: given twice: give it once")
        values[name] = value
    hints = typing.get_type_hints(kind, include_extras=True)
    made = {name: _value(name, value, hints[name]) for name, value in values.items()}
    if missing := [name for name, one in known.items() if _required(one) and name not in values]:
        raise UserError(f"{', '.join(missing)}: has to be given: {_usage(verb, kind)}")
    return kind(**made)


def page(verb: str, kind: type[Any]) -> str:
    """Return the help of a verb."""
    lines = [_usage(verb, kind), "", str(kind.__doc__).strip().splitlines()[0], ""]
    hints = typing.get_type_hints(kind, include_extras=True)
    for one in fields(kind):
        [text] = [more.text for more in typing.get_args(hints[one.name]) if isinstance(more, Help)]
        default = "" if _required(one) or one.default is None else f" ({_written(one.default)})"
        lines.append(f"  {one.name:<14}{text}{default}")
    return "\n".join(lines) + "\n"


def _usage(verb: str, kind: type[Any]) -> str:
    needed = [f"{one.name}={one.name.upper()}" for one in fields(kind) if _required(one)]
    return " ".join(["recsys-lora", verb, *needed, "[NAME=VALUE ...]"])


def _required(one: "Field[Any]") -> bool:
    return one.default is MISSING


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(name: str, text: str, annotation: Any) -> Any:
    given = None if text in ("null", "None") else text
    try:
        value = TypeAdapter(annotation).validate_python(given)
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{name}={text}: give a finite number")
        return value
    except ValidationError as error:
        raise UserError(refused(name, text, error)) from error
