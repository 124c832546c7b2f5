"""Which adapted linear maps share one generated A(u, i)."""

from typing import Literal

from recsys_lora.lowrank import Site

Sharing = Literal["all", "per_layer", "per_matrix"]


def shared_factor(site: Site, sharing: Sharing) -> str:
    """Return the name of the A(u, i) that a linear map reads; maps of one name share one A and so an input width.

    Args:
        site: where the map stands.
        sharing: `all` is the paper's one A for all maps of one input width; `per_layer` and `per_matrix` make one for
            each decoder block or kind of matrix, and width.
    """
    width = f"width{site.in_features}"
    return {"all": width, "per_layer": f"layer{site.block}_{width}", "per_matrix": f"{site.target}_{width}"}[sharing]
