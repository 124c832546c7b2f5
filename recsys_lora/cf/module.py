"""A LightningModule that fits any encoder: rows are tensors on the device, and a step picks some by index.

The losses are point-wise on labelled rows, or rank positives against items drawn at random.

    bce              -[y log σ(s) + (1-y) log(1-σ(s))]
    bpr              -log σ(s⁺ - s⁻), mean over the drawn items          (Rendle et al., UAI 2009)
    sampled_softmax  -log softmax([s⁺, s⁻_1, ..., s⁻_n])[0]
"""

from collections.abc import Iterator
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from recsys_lora.cf.dot import DotProductEncoder
from recsys_lora.cf.encoder import Catalogue, CollaborativeEncoder
from recsys_lora.cf.settings import FitSettings
from recsys_lora.data.history import History
from recsys_lora.data.prepared import Rows
from recsys_lora.evaluation.ranking import auc, uauc
from recsys_lora.utils.errors import UserError


def pointwise(encoder: CollaborativeEncoder, user: Tensor, history: Tensor, item: Tensor, label: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of the rows' logits against labels (B,) in {0, 1}."""
    return functional.binary_cross_entropy_with_logits(encoder.score(user, history, item), label)


def _against(
    encoder: CollaborativeEncoder, user: Tensor, history: Tensor, item: Tensor, negatives: Tensor
) -> tuple[Tensor, Tensor]:
    scores = encoder.score_candidates(user, history, torch.cat([item.unsqueeze(1), negatives], 1))  # (B, 1 + n)
    return scores[:, :1], scores[:, 1:]


def bpr(encoder: CollaborativeEncoder, user: Tensor, history: Tensor, item: Tensor, negatives: Tensor) -> Tensor:
    """Return the mean of -log σ(s⁺ - s⁻) over positive rows (B,) and their `negatives` (B, n)."""
    positive, negative = _against(encoder, user, history, item, negatives)
    return -functional.logsigmoid(positive - negative).mean()


def sampled_softmax(
    encoder: CollaborativeEncoder, user: Tensor, history: Tensor, item: Tensor, negatives: Tensor
) -> Tensor:
    """Return the mean cross-entropy of each positive among itself and its `negatives` (B, n).

    A negative that happens to be the positive itself is left out of its row's sum.
    """
    positive, negative = _against(encoder, user, history, item, negatives)
    negative = negative.masked_fill(negatives == item.unsqueeze(1), -torch.inf)
    return (torch.cat([positive, negative], 1).logsumexp(1) - positive.squeeze(1)).mean()


def draw_items(pool: Tensor, rows: int, count: int) -> Tensor:
    """Draw `count` items per row, uniformly from `pool` (the items seen in train), with replacement: (rows, count)."""
    return pool[torch.randint(len(pool), (rows, count), device=pool.device)]


class RowTensors(nn.Module):
    """Rows as buffers, so that they move to the device with the module and are never saved with it.

    Attributes:
        context: a number (n,) for each row's user and history, equal if both are; on the CPU.
    """

    user: Tensor
    item: Tensor
    label: Tensor
    history: Tensor

    def __init__(self, rows: Rows, history: History, length: int) -> None:
        """Read the rows and the last `length` items of each row's history (0 for none)."""
        super().__init__()
        read = history.last(rows.user, rows.position, length) if length else np.zeros((len(rows), 0))
        for name, values in (("user", rows.user), ("item", rows.item), ("history", read)):
            ids = torch.from_numpy(np.ascontiguousarray(values, dtype=np.int32))
            self.register_buffer(name, ids, persistent=False)
        self.register_buffer("label", torch.from_numpy(rows.label.astype(np.float32)), persistent=False)
        context = np.unique(np.stack([rows.user, rows.position]), axis=1, return_inverse=True)[1]
        self.context = torch.from_numpy(context.reshape(-1))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.user)

    def pick(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return (user (B,), history (B, L), item (B,), label (B,)) of some rows."""
        return self.user[index].long(), self.history[index].long(), self.item[index].long(), self.label[index]


class IndexBatches:
    """Row numbers in batches of nearly equal size; a shuffled order depends only on (seed, epoch)."""

    def __init__(self, index: Tensor, batch_size: int, seed: int | None, together: Tensor | None = None) -> None:
        """Cut row numbers into batches.

        Args:
            index: row numbers (n,).
            batch_size: the most rows a batch holds.
            seed: seed of the shuffling; None keeps the order.
            together: a group number for each entry of `index` (n,); rows of a group stay adjacent. None: no groups.
        """
        self.index = index
        self.count = max(1, -(-len(index) // batch_size))
        self.seed = seed
        self.group = np.arange(len(index)) if together is None else together.numpy()
        self.groups = int(self.group.max(initial=-1)) + 1
        self.epoch = 0

    def __len__(self) -> int:
        """Return the number of batches."""
        return self.count

    def __iter__(self) -> Iterator[Tensor]:
        """Yield one epoch; the next iteration is the next epoch."""
        order = self.index
        if self.seed is not None:
            place = np.random.default_rng((self.seed, self.epoch)).permutation(self.groups)  # of each group
            order = order[torch.from_numpy(place[self.group].argsort(kind="stable"))]
            self.epoch += 1
        return iter(order.tensor_split(self.count))


class CFModule(lightning.LightningModule):
    """Trains an encoder by `fit.objective` and reports AUC and UAUC on all validation rows.

    Attributes:
        curve: one record per validation: epoch, step, train_loss if there were steps since the last one, valid_auc, and
            valid_uauc if some user has validation rows of both classes.
    """

    pool: Tensor
    loss_sum: Tensor

    def __init__(
        self,
        encoder: CollaborativeEncoder,
        catalogue: Catalogue,
        train: RowTensors,
        valid: RowTensors,
        fit: FitSettings,
        seed: int,
    ) -> None:
        """Take an untrained encoder, the rows as tensors, and the fit's settings."""
        super().__init__()
        self.encoder = encoder
        self.train_rows = train
        self.valid_rows = valid
        self.fit_settings = fit
        self.seed = seed
        self.register_buffer("pool", catalogue.seen_items.nonzero().squeeze(1), persistent=False)
        self.curve: list[dict[str, float]] = []
        # One sum in one place: a small tensor kept per step would lie between large ones that are freed, and memory
        # would grow by one of these per step (3 GB over four epochs of LightGCN on ML-1M).
        self.register_buffer("loss_sum", torch.zeros((), dtype=torch.float64), persistent=False)
        self._losses = 0
        self._scored: list[tuple[Tensor, Tensor, Tensor]] = []

    def train_dataloader(self) -> IndexBatches:
        """Return all labelled rows for BCE, the positive ones for the ranking objectives."""
        labels = self.train_rows.label.cpu()
        everything = self.fit_settings.objective == "bce"
        index = torch.arange(len(labels)) if everything else labels.nonzero().squeeze(1)
        shared = isinstance(self.encoder, DotProductEncoder) and self.encoder.fit_history_length > 0
        together = self.train_rows.context[index] if shared else None  # their e_u is then computed once
        return IndexBatches(index, self.fit_settings.batch_size, self.seed, together)

    def val_dataloader(self) -> IndexBatches:
        """Return all validation rows in order."""
        return IndexBatches(torch.arange(len(self.valid_rows)), self.fit_settings.scoring_rows, None)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Return the objective's loss on the rows numbered `batch` (B,)."""
        user, history, item, label = self.train_rows.pick(batch)
        encoder = self.encoder
        if self.fit_settings.objective == "bce":
            loss = pointwise(encoder, user, history, item, label)
        else:
            negatives = draw_items(self.pool, len(user), self.fit_settings.negatives)
            rank = bpr if self.fit_settings.objective == "bpr" else sampled_softmax
            loss = rank(encoder, user, history, item, negatives)
        self.loss_sum += loss.detach()
        self._losses += 1
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Score the rows numbered `batch` (B,)."""
        user, history, item, label = self.valid_rows.pick(batch)
        self._scored.append((user, label, self.encoder.score(user, history, item)))

    def on_validation_epoch_end(self) -> None:
        """Log the metrics.

        Raises:
            UserError: the loss or a score is not a finite number.
        """
        user, label, score = (torch.cat(part).double().cpu().numpy() for part in zip(*self._scored, strict=True))
        trained = {"train_loss": float(self.loss_sum) / self._losses} if self._losses else {}
        self._scored = []
        self._losses = 0
        self.loss_sum.zero_()
        where = f"epoch {self.current_epoch + 1}, step {self.global_step}"
        if not np.isfinite(np.append(score, list(trained.values()))).all():
            raise UserError(f"CF fit: the loss is no longer a finite number ({where}): lower cf.fit.lr")
        found = {"valid_auc": auc(label, score)}
        per_user, users = uauc(user, label, score)
        if users:
            found["valid_uauc"] = per_user
        if not self.trainer.sanity_checking:
            self.curve.append({"epoch": self.current_epoch + 1, "step": self.global_step, **trained, **found})
        self.log_dict(found | trained)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam, or AdamW if weight decay is decoupled."""
        kind: type[Any] = torch.optim.Adam if self.fit_settings.decay == "l2" else torch.optim.AdamW
        optimizer: torch.optim.Optimizer = kind(
            self.encoder.parameters(), lr=self.fit_settings.lr, weight_decay=self.fit_settings.weight_decay, fused=True
        )
        return optimizer
