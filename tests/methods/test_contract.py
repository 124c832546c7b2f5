"""What every method that knows users has to show: that the language model really uses what it is told of them.

Titles carry nothing; a row's label is the sign of e_u · e_i, or, where there are no vectors, whether the user's number
is odd. A method that feels its vectors, codes or tokens learns that; with users shuffled it is left with chance. A
method joins by one entry of `METHODS`, with the world that it lives in.
"""

import functools

import numpy as np
import pytest
import torch

from recsys_lora.data.loader import ScoreLoader
from recsys_lora.evaluation.ranking import auc
from recsys_lora.tasks.ctr import of_rows
from recsys_lora.tasks.selection import Limits
from tests.methods import factory
from tests.methods.asking import score_rows
from tests.methods.synthetic import WORDS, coded, decided_by_users, prepared
from tests.rounding import assert_close

SIZES = {"users": 200, "items": 200, "rows_each": 24}
VECTORS = functools.partial(prepared, dim=4, **SIZES)
CODES = functools.partial(coded, width=2)
USERS = functools.partial(decided_by_users, **SIZES)
BARE = {"batch_size": 16, "prompt": factory.bare_template()}
METHODS = {
    "cora": (VECTORS, 140, lambda *world: factory.cora(*world, lr=3e-3)),
    "cora-pair": (VECTORS, 200, lambda *world: factory.cora(*world, lr=3e-3, generator={"input": "pair"})),
    "cora-text_lora": (VECTORS, 140, lambda *world: factory.cora(*world, lr=3e-3, text_lora="tuned")),
    "cora-tune_encoder": (VECTORS, 140, lambda *world: factory.cora(*world, lr=3e-3, tune_encoder=True)),
    "cora-user_statistics": (VECTORS, 200, lambda *world: factory.cora(*world, lr=3e-3, user_statistics=True)),
    "cora-suffix": (VECTORS, 140, lambda *world: factory.cora(*world, lr=3e-3, scope="suffix")),
    "collm": (VECTORS, 350, lambda *world: factory.collm(*world, lr=3e-3, tune_lora=True, **BARE)),
    "graphlora": (VECTORS, 350, lambda *world: factory.graphlora(*world, lr=3e-3, **BARE)),
    "binllm": (CODES, 75, lambda *world: factory.binllm(*world, lr=2e-2)),
    "person_prompt": (USERS, 100, lambda data, _: factory.person_prompt(data, tune_lora=True, **BARE)),
}
"""Its world, the steps that it needs there, and what makes it."""


SLOW = {"cora-text_lora", "cora-tune_encoder"}
"""What `test_first_stage.py` and `test_tuned_encoder.py` train, too."""


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in METHODS]
)
def fitted(request):
    torch.manual_seed(0)
    world, steps, method = METHODS[request.param]
    data, encoder = world()
    module = method(data, encoder)
    datamodule = module.datamodule(data, WORDS, seed=0, limits=Limits(valid=200))
    factory.trainer(max_epochs=2, max_steps=steps).fit(module, datamodule)
    return data, module, datamodule


def test_the_language_model_uses_its_vectors(fitted):
    data, module, datamodule = fitted
    rows = data.rows("test")
    assert auc(rows.label, score_rows(module, datamodule, rows, show=False)) > 0.9


def test_with_users_shuffled_nothing_is_left(fitted):
    data, module, datamodule = fitted
    rows = data.rows("test")
    assert abs(auc(rows.label, score_rows(module, datamodule, rows, shuffle_users=1, show=False)) - 0.5) < 0.06


@pytest.mark.parametrize(("budget", "padding"), [(20, "right"), (200, "left"), (5000, "left"), (5000, "right")])
def test_scores_do_not_depend_on_batch_mates(fitted, budget, padding):
    data, module, datamodule = fitted
    rows = data.rows("test").take(np.arange(0, 400, 7))
    expected = score_rows(module, datamodule, rows, show=False)
    prompts = datamodule.prompts["ctr"].set(of_rows(rows))
    got = np.zeros(len(rows))
    module.eval()
    with torch.inference_mode():
        for batch in ScoreLoader(prompts, budget, module.backbone.pad_id, padding):
            got[batch.index.numpy()] = module(batch).numpy()
    assert_close(got, expected)


def test_the_fitted_methods_checkpoint_is_of_the_size_of_what_was_trained(fitted, tmp_path):
    _, module, _ = fitted
    module.trainer.save_checkpoint(tmp_path / "last.ckpt")
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    kept = sum(value.numel() for value in checkpoint["state_dict"].values())
    assert trained <= kept < 1.02 * trained + 100  # and what was measured: scales, which ids train has
    assert not [name for name in checkpoint["state_dict"] if name.startswith(("backbone.", "encoder."))]
