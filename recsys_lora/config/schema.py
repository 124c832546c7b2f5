"""The values that belong to no object: what each may be, by its place in the config."""

from typing import Any, Literal

from recsys_lora.types import NonNegativeInt, PositiveInt

Stage = Literal["prepare", "cf", "method", "test"]
Rows = PositiveInt | None

PLAIN: dict[str, Any] = {
    "seed": NonNegativeInt,
    "name": str | None,
    "group": str | None,
    "tags": list[str],
    "tasks": list[str] | None,
    "ckpt_path": str | None,
    "train": bool,
    "test": bool,
    "stage.force": list[Stage],
    "evaluation.warm": Literal["seen", "count", "notebook"],
    "evaluation.zero_shot": bool,
    "evaluation.shuffled_rows": NonNegativeInt,
    "evaluation.draws": PositiveInt,
    "evaluation.token_budget": PositiveInt | Literal["auto"],
    "data.name": str,
    "data.root": str | None,
    "data.reviews": str | None,
    "data.meta": str | None,
    "data.interactions": str | None,
    "data.items": str | None,
    "data.users": str | None,
    "data.positive": float,
    "data.min_user_rows": NonNegativeInt,
    "data.min_item_rows": NonNegativeInt,
    "data.train_rows": Rows,
    "data.valid_rows": Rows | Literal["published"],
    "data.test_rows": Rows,
    "data.sample_seed": NonNegativeInt,
    "data.rating_scale.low": float,
    "data.rating_scale.high": float,
    "data.rating_scale.step": float,
    "data.off_scale": Literal["keep", "drop", "error"],
    "data.catalogue": Literal["all", "interactions"],
    "data.negatives.train": PositiveInt,
    "data.negatives.test": PositiveInt,
    "data.negatives.seed": NonNegativeInt,
    "paths.runs": str,
    "paths.run": str,
    "out": str | None,
    "checksums": bool,
}
