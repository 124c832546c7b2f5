"""Which adapted linear maps share one generated A(u, i)."""

import re
from collections.abc import Mapping
from typing import Literal

Sharing = Literal["all", "per_layer", "per_matrix"]


def factor_groups(widths: Mapping[str, int], sharing: Sharing) -> dict[str, str]:
    """Name the group of every adapted linear map; a group shares one A and so has one input width.

    Args:
        widths: input width of each adapted map under its path in the model (`model.layers.3.self_attn.q_proj`).
        sharing: `all` is the paper's one A for all maps of one input width; `per_layer` and `per_matrix` make one for
            each layer (its number in the path) or kind of matrix (the path's last part), and width.

    Returns:
        The group of each path, a name without dots (it names a module).
    """
    return {path: f"{_label(path, sharing)}{width}" for path, width in widths.items()}


def _label(path: str, sharing: Sharing) -> str:
    if sharing == "all":
        return "width"
    if sharing == "per_matrix":
        return f"{path.rpartition('.')[2]}_"
    number = re.search(r"\.(\d+)\.", path)
    return f"layer{number.group(1) if number else ''}_"
