"""Two small forwards after loading: is this a model whose scores can be trusted?"""

import torch

from recsys_lora.llm.backbone import Backbone
from recsys_lora.utils.errors import UserError

_TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 6e-2}
"""Relative to the largest absolute value compared."""
_QUANTISED = 6e-2
"""The tolerance if the body's linear maps are quantised: 8-bit products also round their inputs."""


@torch.no_grad()
def check_backbone(backbone: Backbone) -> None:
    """Compare chosen logits with the whole head's, and a prompt alone with the same prompt padded on either side.

    Raises:
        UserError: they differ, since the family treats its logits or padding in a way that is not known here; they or
            the weights are not finite; or the model has no decoder blocks.
    """
    if backbone.model.config.get_text_config().num_hidden_layers < 1:
        raise UserError(f"{backbone.label}: its config names no decoder blocks (num_hidden_layers): use another model")
    for name, weight in backbone.model.named_parameters():
        if weight.dtype in _TOLERANCE and not _finite(weight):
            raise UserError(
                f"{backbone.label}: {name} holds values that are not finite: get its files again, or set "
                "llm.dtype=float32"
            )
    bound = max(_TOLERANCE.get(backbone.dtype, 1e-4), _QUANTISED if "quantise" in backbone.identity else 0.0)
    vocabulary = backbone.model.get_output_embeddings().weight.shape[0]
    ids = torch.arange(6, device=backbone.device) * 37 % vocabulary  # (T,)
    short, mask = ids[:4].view(1, 4), torch.ones(1, 4, dtype=torch.long, device=backbone.device)
    alone = backbone.last(backbone.hidden(backbone.embed(short), mask), mask)  # (1, H)

    logits = backbone.model(input_ids=short, use_cache=False).logits[:, -1].float()  # (1, V)
    if not _finite(logits):
        raise UserError(f"{backbone.label}: its logits are not finite: set llm.dtype=float32, or use another model")
    if not _close(backbone.logits_at(alone, ids), logits[:, ids], bound):
        raise UserError(
            f"{backbone.label}: {_family(backbone)} changes its logits in an unknown way: use another model"
        )

    pad = torch.full((1, 2), backbone.pad_id, device=backbone.device)
    padded = torch.cat([torch.cat([pad, short], 1), torch.cat([short, pad], 1), ids.view(1, 6)])  # (3, 6)
    real = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1] * 6], device=backbone.device)
    beside = backbone.last(backbone.hidden(backbone.embed(padded), real), real)[:2]  # (2, H)
    if not _close(beside, alone.expand_as(beside), bound):
        raise UserError(
            f"{backbone.label}: {_family(backbone)} gives a prompt another state when it is padded: use another model"
        )


def _close(given: torch.Tensor, expected: torch.Tensor, share: float) -> bool:
    bound = share * expected.float().abs().max().clamp_min(1e-3)
    return bool((given.float() - expected.float()).abs().max() <= bound)


def _finite(values: torch.Tensor) -> bool:
    return all(bool(torch.isfinite(end)) for end in torch.aminmax(values))


def _family(backbone: Backbone) -> str:
    return type(backbone.model).__name__
