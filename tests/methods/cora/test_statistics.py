"""What train rows say of users and items as inputs of CoRA's generator, and that no label is read from it."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from recsys_lora.cf.table import UNKNOWN
from recsys_lora.data.prepared import PreparedData
from recsys_lora.methods.checkpoint import load_checkpoint
from recsys_lora.methods.cora.statistics import counts_before
from tests.methods import factory
from tests.methods.asking import score_rows
from tests.methods.synthetic import WORDS, prepared
from tests.rounding import SUM, assert_close

NOTHING = torch.zeros(2)


def world(seed=0, flipped=None):
    """Return data whose rows are of mixed times, some of them equal, and an encoder; one row's label can be flipped."""
    data, encoder = prepared(users=20, items=20, rows_each=12, dim=4, titles=[f"Film {n}" for n in range(20)])
    random = np.random.default_rng(seed)
    table = data.interactions.with_columns(timestamp=pl.Series(random.integers(0, 60, len(data.interactions))))
    if flipped is not None:
        label = table["label"].to_numpy().copy()
        label[flipped] = 1 - label[flipped]
        table = table.with_columns(label=pl.Series(label))
    return PreparedData(data.folder, data.manifest, table, data.items), encoder


def ready(made, **knobs):
    """Return a module that has counted, its questions, and one batch of all of them."""
    module = factory.cora(*made, user_statistics=True, **knobs)
    datamodule = module.datamodule(made[0], WORDS, seed=0)
    datamodule.setup("fit")
    questions = datamodule.train.versions["text"]
    module.statistics.measure(made[0].rows("train"), questions)
    return module, questions, questions.batch(np.arange(len(questions)), 0, "right")


def counted(rows, which, number, before):
    """Return how many rows an id has, and how many positive ones, among those that come before one, one by one."""
    own = [
        float(label)
        for row, ids, label, time in zip(rows.row, getattr(rows, which), rows.label, rows.timestamp, strict=True)
        if ids == number and (before is None or (time, row) < before)
    ]
    return [len(own), sum(own)]


def plainly(counts, overall):
    rows, positives = counts
    share = (positives + 5 * overall) / (rows + 5)
    return [np.log(share / (1 - share)), np.log(1 + rows)]


def test_a_training_question_counts_the_rows_before_its_own_and_others_all_rows():
    data, encoder = world()
    module, questions, batch = ready((data, encoder))
    rows = data.rows("train")
    overall = float(rows.label.mean())
    when = {int(row): (int(time), int(row)) for row, time in zip(rows.row, rows.timestamp, strict=True)}
    expected = {
        which: np.array(
            [
                plainly(counted(rows, which, n, when[int(row)]), overall)
                for n, row in zip(ids, questions.row, strict=True)
            ]
        )
        for which, ids in (("user", questions.user), ("item", questions.items[:, 0]))
    }
    scale = {which: (found.mean(0), found.std(0)) for which, found in expected.items()}
    user, item = module.statistics.train()(batch)
    for found, which in ((user, "user"), (item[:, 0], "item")):
        mean, std = scale[which]
        assert_close(found, (expected[which] - mean) / std, SUM)
        assert_close(found.mean(0), NOTHING, SUM, size=1.0)
        assert_close(found.std(0, correction=0), NOTHING + 1, SUM)
    user, item = module.statistics.eval()(batch)
    for found, which, ids in ((user, "user", questions.user), (item[:, 0], "item", questions.items[:, 0])):
        mean, std = scale[which]
        whole = np.array([plainly(counted(rows, which, n, None), overall) for n in ids])
        assert_close(found, (whole - mean) / std, SUM)


def test_counts_before_are_those_of_a_loop():
    random = np.random.default_rng(0)
    ids, place, positive = random.integers(1, 5, 40), random.permutation(40), random.random(40) < 0.5
    asked, before = random.integers(0, 7, (9, 3)), random.integers(0, 40, (9, 1))
    found = counts_before(ids, place, positive, asked, before)
    for q, c in np.ndindex(9, 3):
        own = (ids == asked[q, c]) & (place < before[q, 0])
        assert found[q, c].tolist() == [own.sum(), positive[own].sum()]


def test_a_label_is_in_nothing_that_its_own_or_an_earlier_row_counts():
    data, encoder = world()
    rows = data.rows("train")
    before = ready((data, encoder))[0].statistics
    for place in range(0, len(rows), 17):
        row = int(rows.row[place])
        after, questions, _ = ready(world(flipped=row))
        after = after.statistics
        later = set()
        for name, ids in (("train_users", questions.user), ("train_items", questions.items[:, 0])):
            one, other = (getattr(found, name).reshape(len(questions), 2) for found in (before, after))
            changed = np.flatnonzero((one != other).any(1).numpy())
            later |= {int(questions.row[n]) for n in changed}
            number = int(rows.user[place] if name == "train_users" else rows.item[place])
            assert set(ids[changed].tolist()) <= {number}
        times = {int(r): (int(t), int(r)) for r, t in zip(rows.row, rows.timestamp, strict=True)}
        assert all(times[r] > times[row] for r in later)


def test_labels_of_a_user_cannot_be_told_from_the_users_share():
    data, _ = prepared(users=60, items=60, rows_each=36, dim=4)
    random = np.random.default_rng(1)
    label = (random.random(len(data.interactions)) < 0.5).astype(np.int8)  # nothing to be known
    data = PreparedData(data.folder, data.manifest, data.interactions.with_columns(label=pl.Series(label)), data.items)
    rows = data.rows("train")
    n = np.arange(len(rows))
    seen = counts_before(rows.user, n, rows.label > 0, rows.user, n)
    totals, positives = np.bincount(rows.user)[rows.user], np.bincount(rows.user, rows.label)[rows.user]
    shares = {
        "ordered": (seen[:, 1] + 2.5) / (seen[:, 0] + 5),
        "leave one out": (positives - rows.label + 2.5) / (totals - 1 + 5),
    }

    def within(values):
        """Return the correlation with the label once each user's mean is taken out."""
        parts = [np.concatenate([v[rows.user == u] - v[rows.user == u].mean() for u in range(1, 61)]) for v in values]
        return float(np.corrcoef(*parts)[0, 1])

    assert within([shares["leave one out"], rows.label]) < -0.99  # which is why it is not taken
    assert abs(within([shares["ordered"], rows.label])) < 0.25


def test_masked_and_unseen_ids_have_no_rows():
    module, _, batch = ready(world())
    nobody = module.statistics.numbers(torch.zeros(2))
    expected = [(nobody - module.statistics.mean[side]) / module.statistics.std[side] for side in (0, 1)]
    masked = replace(batch, user=batch.user * 0 + UNKNOWN, items=batch.items * 0 + UNKNOWN)
    for mode in (True, False):
        user, items = module.statistics.train(mode)(masked)
        assert torch.equal(user, expected[0].expand_as(user))
        assert torch.equal(items, expected[1].expand_as(items))
    users = int(module.statistics.users.shape[0])
    module.grow(1, 1)
    later = replace(batch, user=batch.user * 0 + users)
    assert torch.equal(module.statistics.eval()(later)[0], user)
    assert float(nobody[1]) == 0


def test_the_generator_reads_them_and_a_checkpoint_keeps_them(tmp_path):
    data, encoder = world()
    module = factory.cora(data, encoder, user_statistics=True, lr=1e-2, mask_users=0.3)
    datamodule = module.datamodule(data, WORDS, seed=0)
    trainer = factory.trainer(max_steps=3)
    trainer.fit(module, datamodule)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    rows = data.rows("test")
    scores = score_rows(module, datamodule, rows)
    other = factory.cora(data, encoder, user_statistics=True, seed=9)
    load_checkpoint(tmp_path / "last.ckpt", other, other.identity)
    assert np.array_equal(score_rows(other, datamodule, rows), scores)
    other.statistics.users.zero_()
    assert not np.allclose(score_rows(other, datamodule, rows), scores)


def test_counts_need_the_catalogue_and_questions_of_train():
    data, encoder = world()
    with pytest.raises(ValueError, match="needs catalogue"):
        factory.cora(data, encoder, user_statistics=True, catalogue=None)
    module, questions, _ = ready((data, encoder))
    with pytest.raises(ValueError, match="not in train"):
        module.statistics.measure(data.rows("test"), questions)
