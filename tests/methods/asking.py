"""Prompts, scores and gradients of rows, as the yes-or-no question whether their user likes their item."""

import numpy as np
import torch
from torch.nn import functional

from recsys_lora.methods.answering import Answering
from recsys_lora.tasks.ctr import of_rows
from tests.methods.synthetic import WORDS


def prompts_for(module, data, rows, **more):
    """Return the prompts of rows, in their order."""
    prompts = module.datamodule(data, WORDS, seed=0).prompts["ctr"]
    return prompts.set(of_rows(rows), **more)


def batch_of(module, data, rows=6, padding="right"):
    """Return a batch of some training rows."""
    prompts = prompts_for(module, data, data.rows("train").take(np.arange(rows) * 5))
    return prompts.batch(np.arange(rows), module.backbone.pad_id, padding)


def score_rows(module, datamodule, rows, shuffle_users=None, show=False):
    """Return the scores of rows, in their order."""
    return Answering(module, datamodule)("ctr", of_rows(rows), shuffle_users=shuffle_users, show=show)


def with_updates(module):
    """Give the low-rank updates values, as training would."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in module.lowrank.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.1)
    return module


def gradients(module, batch):
    """Return the gradients of all that is trained, by name."""
    functional.binary_cross_entropy_with_logits(module(batch), batch.label).backward()
    return {name: p.grad for name, p in module.named_parameters() if p.requires_grad}


def step(module, batch, lr=0.01):
    """Take one step of plain gradient descent, as long for every parameter; return the gradients by name."""
    found = gradients(module, batch)
    with torch.no_grad():
        for label, p in module.named_parameters():
            if found.get(label) is not None:
                p -= lr * found[label] / found[label].norm().clamp_min(1e-12)
    module.zero_grad()
    return found


def forwards(backbone):
    """Return a list that gets (rows, tokens) of each forward of the body."""
    seen = []
    backbone.model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(tuple(kwargs["inputs_embeds"].shape[:2])), with_kwargs=True
    )
    return seen
