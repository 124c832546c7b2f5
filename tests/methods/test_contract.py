"""What every collaborative method has to show: that the language model really uses its vectors.

Titles carry nothing, a row's label is the sign of e_u · e_i. A method that feels its vectors learns that; with users'
vectors shuffled it is left with chance. A method joins by one entry of `METHODS`.
"""

import numpy as np
import pytest
import torch

from recsys_lora.data.loader import ScoreLoader
from recsys_lora.metrics.ranking import auc
from recsys_lora.tasks.ctr import of_rows
from tests.methods import factory
from tests.methods.asking import score_rows
from tests.methods.synthetic import WORDS, prepared
from tests.rounding import assert_close

METHODS = {
    "cora": lambda data, encoder: factory.cora(data, encoder, lr=3e-3),
    "cora-pair": lambda data, encoder: factory.cora(data, encoder, lr=3e-3, generator={"input": "pair"}),
    "cora-suffix": lambda data, encoder: factory.cora(data, encoder, lr=3e-3, scope="suffix"),
    "collm": lambda data, encoder: factory.collm(
        data, encoder, lr=3e-3, batch_size=16, prompt=factory.bare_template(), tune_lora=True
    ),
    "graphlora": lambda data, encoder: factory.graphlora(
        data, encoder, lr=3e-3, batch_size=16, prompt=factory.bare_template()
    ),
}


@pytest.fixture(scope="module", params=METHODS, ids=str)
def fitted(request):
    torch.manual_seed(0)
    data, encoder = prepared(users=200, items=200, rows_each=24, dim=4)
    module = METHODS[request.param](data, encoder)
    datamodule = module.datamodule(data, WORDS, seed=0, valid_rows=200)
    factory.trainer(max_epochs=2).fit(module, datamodule)
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
    rows = data.rows("test").take(np.arange(0, 800, 13))
    expected = score_rows(module, datamodule, rows, show=False)
    prompts = datamodule.prompts["ctr"].set(of_rows(rows), show=False)
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
    assert trained <= kept < trained + 100
    assert not [name for name in checkpoint["state_dict"] if name.startswith(("backbone.", "encoder."))]
