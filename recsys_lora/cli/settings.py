"""Verbs with a few `key=value` settings of their own: parsing, checks and help; errors are one line.

Settings are flat: each field is a name on the command line. The objects that they configure group them.
"""

import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recsys_lora.cli.user_errors import exit_on_user_error, plain_output
from recsys_lora.config.hints import suggestion
from recsys_lora.utils.errors import UserError

if TYPE_CHECKING:
    from recsys_lora.recommender.recommender import Recommender

S = TypeVar("S", bound=BaseModel)
WIDTH = 79
"""Width of the help, in characters."""


class RunSettings(BaseModel):
    """Settings of the verbs that load a finished run."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    run: Path = Field(description="folder of a run or an exported bundle; a folder of runs: its newest")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    trust: str | None = Field(None, description="packages whose code the run may name, as my_package,other")

    def check(self) -> None:
        """Reject a folder without a finished run before loading libraries, which takes seconds.

        Raises:
            UserError: as `recsys_lora.load`.
        """
        from recsys_lora.pipeline.artifact_paths import newest_run, read_artifact_paths

        for folder in self.folders:
            read_artifact_paths(newest_run(folder))

    @property
    def folders(self) -> list[Path]:
        """The runs that the verb loads."""
        return [self.run]

    def load(self, folder: Path | None = None) -> "Recommender":
        """Load the run, or the one in another folder; print which one it is if the folder holds several.

        Raises:
            UserError: as `recsys_lora.load`.
        """
        from recsys_lora.config.trust import packages
        from recsys_lora.recommender.load import load
        from recsys_lora.utils.console import say

        given = folder or self.run
        loaded = load(given, device=self.device, trust=packages(self.trust))
        if loaded.run.folder != given:
            say(f"{given}: its newest run, {loaded.run.folder.relative_to(given)}")
        return loaded


def answer(verb: str, kind: type[S], do: Callable[[S], None], arguments: Sequence[str] | None = None) -> None:
    """Run a command line.

    Args:
        verb: its name.
        kind: class of its settings; their descriptions are its help.
        do: function that runs it.
        arguments: as typed; None takes those of this process.

    Exit status: 0 success; 2 user error, with one line on standard error; 130 interrupted.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    if any(one in ("-h", "--help") for one in given):
        with plain_output():
            sys.stdout.write(page(verb, kind))
        return
    with exit_on_user_error():
        settings = read(verb, kind, given)
        if isinstance(settings, RunSettings):
            settings.check()
        do(settings)


def read(verb: str, kind: type[S], given: Sequence[str]) -> S:
    """Parse the settings of a command line.

    Raises:
        UserError: one is unknown, given twice, missing, or of the wrong type or range.
    """
    known, values = kind.model_fields, dict[str, str]()
    for word in given:
        name, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"{word}: write NAME=VALUE: recsys-lora {verb} --help names them")
        if name not in known:
            raise UserError(f"{name}: no setting of {verb}: {suggestion(name, list(known))}")
        if name in values:
            raise UserError(f"{name}: given twice: give it once")
        values[name] = value
    try:
        return kind.model_validate({n: None if text in ("null", "None") else text for n, text in values.items()})
    except ValidationError as error:
        problems = {str(one["loc"][0]): one for one in error.errors()}
        for name, one in problems.items():
            if name in values:
                raise UserError(f"{name}={values[name]}: {one['msg']}") from error
        raise UserError(f"{', '.join(problems)}: has to be given: {_usage(verb, kind)}") from error


def page(verb: str, kind: type[BaseModel]) -> str:
    """Return the help of a verb."""
    lines = [_usage(verb, kind), "", *textwrap.wrap(str(kind.__doc__).strip().splitlines()[0], WIDTH), ""]
    for name, field in kind.model_fields.items():
        default = "" if field.is_required() or field.default is None else f" ({_written(field.default)})"
        lines += textwrap.wrap(
            f"{field.description}{default}", WIDTH, initial_indent=f"  {name:<14}", subsequent_indent=" " * 16
        )
    return "\n".join(lines) + "\n"


def _usage(verb: str, kind: type[BaseModel]) -> str:
    needed = [f"{name}={name.upper()}" for name, field in kind.model_fields.items() if field.is_required()]
    return " ".join(["recsys-lora", verb, *needed, "[NAME=VALUE ...]"])


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
