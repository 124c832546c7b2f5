"""Prompts and scores of rows, as the yes-or-no question whether their user likes their item."""

from recsys_lora.methods.answering import Answering
from recsys_lora.tasks.ctr import of_rows
from tests.methods.synthetic import WORDS


def prompts_for(module, data, rows, **more):
    """Return the prompts of rows, in their order."""
    prompts = module.datamodule(data, WORDS, seed=0).prompts["ctr"]
    return prompts.set(of_rows(rows), **more)


def score_rows(module, datamodule, rows, shuffle_users=None, show=False):
    """Return the scores of rows, in their order."""
    return Answering(module, datamodule)("ctr", of_rows(rows), shuffle_users=shuffle_users, show=show)
