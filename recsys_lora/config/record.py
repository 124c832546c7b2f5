"""A run as a typed record: every field has a type and a role (`roles.py`).

A node with `_target_` is a plain mapping, from which `edge.build` makes an object; its keys have the node's role,
except for the parts that are named here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from recsys_lora.config.roles import CONTROL, DISPLAY, LABEL, PLACE, SOURCE, Kind, cost, result
from recsys_lora.config.typed import Record
from recsys_lora.utils.types import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveFraction, PositiveInt, Seed

Node = Mapping[str, Any]
_WRITTEN = (Kind.PLACE, Kind.DISPLAY)
"""Kinds of values that may name a place to write to."""
_METHOD = result("method", tunable=True)
ForcedStage = Literal["prepare", "cf", "method", "test"]


@dataclass(frozen=True)
class RatingScaleConfig(Record):
    """The rating scale: the lowest and the highest rating, and the step between two."""

    low: Annotated[float, result("prepare", "method", "frozen")]
    high: Annotated[float, result("prepare", "method", "frozen")]
    step: Annotated[PositiveFloat, result("prepare", "method", "frozen")]


@dataclass(frozen=True)
class NegativesConfig(Record):
    """The numbers of items drawn for each positive row, and their seed."""

    train: Annotated[PositiveInt, result("prepare")]
    test: Annotated[PositiveInt, result("prepare")]
    seed: Annotated[Seed, result("prepare")]


@dataclass(frozen=True)
class DataConfig(Record):
    """The data set: conf/data/ explains each value."""

    name: Annotated[str, result("prepare")]
    reader: Annotated[Node, result("prepare", by_content=True).but({"root": SOURCE})]
    split: Annotated[Node, result("prepare", by_content=True)]
    positive: Annotated[float, result("prepare")]
    rating_scale: RatingScaleConfig
    wording: Annotated[Mapping[str, str], result("method", "frozen")]
    min_user_rows: Annotated[NonNegativeInt, result("prepare")] = 0
    min_item_rows: Annotated[NonNegativeInt, result("prepare")] = 0
    duplicates: Annotated[Literal["keep", "exact", "last"], result("prepare")] = "keep"
    off_scale: Annotated[Literal["keep", "drop", "error"], result("prepare")] = "keep"
    catalogue: Annotated[Literal["all", "interactions"], result("prepare")] = "interactions"
    negatives: NegativesConfig | None = None
    titles: Annotated[Literal["own", "index"], result("method", "frozen")] = "own"
    train_rows: Annotated[PositiveInt | None, result("method", tunable=True)] = None
    valid_rows: Annotated[PositiveInt | Literal["published"] | None, result("method")] = None
    test_rows: Annotated[PositiveInt | None, result("test", "frozen")] = None
    test_users: Annotated[PositiveInt | None, result("test", "frozen")] = None
    sample_seed: Annotated[Seed, result("method", "test", "frozen")] = 0


@dataclass(frozen=True)
class CFConfig(Record):
    """The collaborative encoder and its training: conf/cf/ explains each value."""

    name: Annotated[str, result("cf")]
    encoder: Annotated[Node, result("cf", tunable=True)]
    fit: Annotated[Node, result("cf", tunable=True).but({"scoring_rows": cost("cf")})]
    trainer: Annotated[Node, result("cf", tunable=True)]
    train_share: Annotated[PositiveFraction, result("cf", tunable=True)] = 1.0


@dataclass(frozen=True)
class MixingConfig(Record):
    """How training batches mix tasks."""

    temperature: Annotated[PositiveFloat | None, result("method", tunable=True)] = None
    forward_overhead_tokens: Annotated[NonNegativeFloat | Literal["auto"] | None, result("method")] = "auto"


@dataclass(frozen=True)
class EvaluationConfig(Record):
    """What is measured on the test rows, and how."""

    warm: Annotated[Literal["seen", "count", "notebook"], result("report")]
    zero_shot: Annotated[bool, result("report")]
    shuffled_rows: Annotated[NonNegativeInt, result("report")]
    stack: Annotated[bool, result("report")]
    draws: Annotated[PositiveInt, result("report")]
    token_budget: Annotated[PositiveInt | Literal["auto"], cost("report")]
    prompt: Annotated[Node, result("frozen")]


@dataclass(frozen=True)
class StageConfig(Record):
    """Stages to run again even if their result is cached."""

    force: Annotated[list[ForcedStage], CONTROL]


@dataclass(frozen=True)
class PathsConfig(Record):
    """The folder of all runs, and that of this one."""

    runs: Annotated[str, PLACE]
    run: Annotated[str, PLACE]


@dataclass(frozen=True)
class RunConfig(Record):
    """One run: conf/config.yaml explains each value."""

    data: DataConfig
    cf: CFConfig
    model: Annotated[
        Node,
        _METHOD.but(
            {
                "pairwise": _METHOD.off_at(0.0),
                "rows_per_user": _METHOD.off_at(1),
                "tune_encoder": _METHOD.off_at(False),
                "user_statistics": _METHOD.off_at(False),
                "encoder_lr_factor": _METHOD.off_at(1.0),
                "offset_scale": _METHOD.off_at(0.0),
                "train_on": _METHOD.off_at("rows"),
            }
        ),
    ]
    llm: Annotated[
        Node,
        result("method", "frozen", by_content=True, tunable=True).but(
            {
                "path": SOURCE,
                "attention": cost("method", "frozen"),
                "gradient_checkpointing": cost("method"),
                "compiled": cost("method", "frozen"),
            }
        ),
    ]
    trainer: Annotated[
        Node,
        result("method", tunable=True).but(
            dict.fromkeys(("enable_progress_bar", "enable_model_summary", "log_every_n_steps", "profiler"), DISPLAY)
        ),
    ]
    callbacks: Annotated[
        Mapping[str, Node | None],
        DISPLAY.but(
            {
                "*.folder": PLACE,
                "checkpoint.every_n_steps": cost("method"),
                "checkpoint": result("method"),
                "stop_early": result("method"),
                "ema.decay": result("method", tunable=True).off_at(0.0),
            }
        ),
    ]
    logger: Annotated[Mapping[str, Node | None], DISPLAY.but({"*.save_dir": PLACE})]
    evaluation: EvaluationConfig
    paths: PathsConfig
    seed: Annotated[Seed, result("cf", "method")]
    first: Annotated[Node | None, result("method", by_content=True, tunable=True)] = None
    tasks: Annotated[list[str] | None, result("method")] = None
    task: Annotated[Mapping[str, Node], result("method", tunable=True)] = field(default_factory=dict)
    mixing: MixingConfig = field(default_factory=MixingConfig)
    ckpt_path: Annotated[str | None, result("method", by_content=True)] = None
    name: Annotated[str | None, LABEL] = None
    group: Annotated[str | None, LABEL] = None
    tags: Annotated[list[str], LABEL] = field(default_factory=list)
    train: Annotated[bool, CONTROL] = True
    test: Annotated[bool, CONTROL] = True
    stage: StageConfig = field(default_factory=lambda: StageConfig([]))
    resume: Annotated[str, PLACE] = "never"

    @property
    def scoring_tokens(self) -> int:
        """Padded tokens that a scoring batch may hold, once `auto` has been replaced to suit the device."""
        tokens = self.evaluation.token_budget
        assert isinstance(tokens, int)
        return tokens

    def at(self, folder: str) -> Self:
        """Return the same run in another folder: everything it writes below `paths.run` goes there."""
        old = self.paths.run

        def moved(node: Any, at: str) -> Any:
            if isinstance(node, Mapping):
                return {key: moved(value, f"{at}.{key}" if at else key) for key, value in node.items()}
            inside = isinstance(node, str) and (node == old or node.startswith(f"{old}/"))
            return folder + node[len(old) :] if inside and self.role_of(at).kind in _WRITTEN else node

        return self.of(moved(self.as_dict(), ""))


@dataclass(frozen=True)
class PreparationConfig(Record):
    """The preparation of a data set alone: conf/prepare.yaml explains each value."""

    data: DataConfig
    paths: PathsConfig
    stage: StageConfig
    out: Annotated[str | None, PLACE] = None
    checksums: Annotated[bool, DISPLAY] = False
