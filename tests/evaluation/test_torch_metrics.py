"""The wrapped metrics equal the functions on all rows, whatever the batches and processes."""

import numpy as np
import pytest
import torch

from recsys_lora.evaluation.ranking import auc, uauc
from recsys_lora.evaluation.torch_metrics import AUC, UAUC
from tests import processes

ROWS = 101


def rows():
    generator = torch.Generator().manual_seed(0)
    user = torch.randint(0, 9, (ROWS,), generator=generator) + 2**40
    label = torch.randint(0, 2, (ROWS,), generator=generator)
    score = (torch.randn(ROWS, generator=generator) * 3).round() / 3
    return user, label, score


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_batches_do_not_matter(dtype):
    user, label, score = rows()
    score = score.to(dtype)
    metrics = AUC(), UAUC()
    for part in torch.arange(ROWS).split(7):
        metrics[0].update(score[part], label[part])
        metrics[1].update(user[part], score[part], label[part].float())
    plain = score.float().numpy()
    assert metrics[0].compute().item() == auc(label.numpy(), plain)
    assert metrics[1].compute().item() == uauc(user.numpy(), label.numpy(), plain)[0]
    metrics[0].reset()
    metrics[0].update(score[:1], label[:1])
    assert np.isnan(metrics[0].compute().item())


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"\(B,\)"):
        AUC().update(torch.zeros(3), torch.zeros(2))
    with pytest.raises(ValueError, match=r"\(B,\)"):
        AUC().update(torch.zeros(3, 1), torch.zeros(3, 1))


def _worker(rank, folder):
    user, label, score = rows()
    outcomes = []
    for share in (lambda r: slice(rank, None, 2), lambda r: slice(0, ROWS if r == 0 else 0)):
        a, u = AUC(), UAUC()
        mine = share(rank)
        if len(score[mine]):  # the second time, rank 1 is never updated
            a.update(score[mine], label[mine])
            u.update(user[mine], score[mine], label[mine])
        outcomes.append((a.compute().item(), u.compute().item()))
    np.save(f"{folder}/{rank}.npy", outcomes)


def test_two_processes_with_uneven_shares_equal_one(tmp_path):
    processes.run(_worker, 2, tmp_path)
    user, label, score = (x.numpy() for x in rows())
    expected = (auc(label, score), uauc(user, label, score)[0])
    for rank in range(2):
        np.testing.assert_array_equal(np.load(tmp_path / f"{rank}.npy"), [expected, expected])
