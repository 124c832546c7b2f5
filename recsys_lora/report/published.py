"""Published numbers of a model with a CF encoder on a data set (`published.yaml`)."""

from functools import cache
from importlib import resources
from typing import Any

from omegaconf import OmegaConf

from recsys_lora.report.comparison_schema import Quoted, Whose

_FILE = "published.yaml"


def published(data: str, model: str, cf: str | None) -> dict[Whose, Quoted]:
    """Return the published numbers by their origin, `own` and `rerun`, if there are any.

    Args:
        data: `data.name`.
        model: `model.name`.
        cf: `cf.name`; None if the model has no encoder.
    """
    table = everything()
    found = table["data"].get(data, {}).get(row_name(model, cf), {})
    return {
        whose: Quoted.model_validate({**numbers, "source": table["sources"][numbers["source"]]})
        for whose, numbers in found.items()
    }


def row_name(model: str, cf: str | None) -> str:
    """Return the name of a model with its encoder: `cora-mf`; `mf` if it is the encoder itself, or has none."""
    return model if cf is None or cf == model else f"{model}-{cf}"


@cache
def everything() -> dict[str, Any]:
    """Return the whole file."""
    text = resources.files("recsys_lora.report").joinpath(_FILE).read_text(encoding="utf-8")
    container: Any = OmegaConf.to_container(OmegaConf.create(text))
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}
