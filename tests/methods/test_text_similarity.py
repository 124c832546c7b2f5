"""The likeness of titles, against a loop over single titles."""

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity

from recsys_lora.methods.text_similarity import TextSimilarity
from recsys_lora.tasks.ctr import of_rows
from recsys_lora.tasks.topk import TopK
from tests.methods import factory
from tests.methods.asking import score_rows
from tests.methods.synthetic import WORDS, prepared
from tests.rounding import assert_close
from tests.tasks import world as tasks_world

TITLES = [f"Film {'of a long name ' * (n % 3)}{n}" for n in range(80)]


@pytest.fixture(scope="module")
def world():
    data, _ = prepared(users=12, items=80, rows_each=12, dim=4, titles=TITLES)
    return data, similarity(data)


def similarity(data, **knobs):
    settings = {"name": "text_similarity", "tasks": factory.asked(), "prompt": factory.template()}
    return TextSimilarity(
        titles=data.titles, history_items=3, title_tokens=32, backbone=factory.backbone(data), **(settings | knobs)
    )


def test_it_is_the_cosine_of_mean_states(world):
    data, module = world
    backbone, rows = module.backbone, data.rows("test")

    def alone(title):
        ids = torch.tensor([backbone.tokenizer(title, add_special_tokens=False)["input_ids"]])
        with torch.no_grad():
            return backbone.hidden(backbone.embed(ids), torch.ones_like(ids))[0].mean(0).numpy()

    vectors = np.stack([alone(title) for title in TITLES])
    vectors -= vectors.mean(0)
    expected = []
    for user, item, position in zip(rows.user, rows.item, rows.position, strict=True):
        liked = data.history.items[data.history.offsets[user] :][:position][-3:]
        mean = vectors[liked - 1].mean(0) if len(liked) else np.zeros(vectors.shape[1])
        expected.append(cosine_similarity([mean], [vectors[item - 1]])[0, 0])
    assert_close(score_rows(module, module.datamodule(data, WORDS, seed=0), rows), np.array(expected))


def test_with_users_shuffled_it_sees_the_history_of_others(world):
    data, module = world
    datamodule, rows = module.datamodule(data, WORDS, seed=0), data.rows("test")
    others = of_rows(rows).of_other_users(1)
    shuffled = score_rows(module, datamodule, rows, shuffle_users=1)
    vectors = module.vectors
    history = torch.from_numpy(data.history.last(others.user, others.position, 3))
    means = [vectors[own[own > 0]].mean(0) if own.any() else vectors[0] for own in history]
    expected = torch.nn.functional.cosine_similarity(torch.stack(means), vectors[rows.item], dim=1)
    assert_close(shuffled, expected.double().numpy())


def test_it_answers_one_kind_of_question(world):
    data, _ = world
    ranking = {"topk": TopK(**tasks_world.listed(), candidates=3, cutoffs=[1])}
    with pytest.raises(ValueError, match="topk cannot be asked of text_similarity: it answers yes-or-no"):
        similarity(data, tasks=ranking, prompt=None)
