"""AUC and UAUC for training loops: gathered over batches and processes, then computed once and exactly.

An average of batch-wise or process-wise AUCs is not the AUC; these keep every row (16 bytes each) instead.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from recsys_lora.evaluation.ranking import auc, uauc


class _Gathered(Metric):
    """Keeps columns of rows; processes may hold different numbers of rows, including none."""

    full_state_update = False
    columns: ClassVar[dict[str, torch.dtype]]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in self.columns:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def _append(self, **values: Tensor) -> None:
        sizes = {name: tuple(value.shape) for name, value in values.items()}
        if len(set(sizes.values())) != 1 or len(next(iter(sizes.values()))) != 1:
            raise ValueError(f"all must be (B,), got {sizes}")
        for name, value in values.items():
            getattr(self, name).append(value.detach().to(self.columns[name]))

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather from all processes; those without rows contribute empty columns of the right type."""
        for name, dtype in self.columns.items():
            if isinstance(rows := getattr(self, name), list) and not rows:
                rows.append(torch.zeros(0, dtype=dtype, device=self.device))
        super().sync(*args, **kwargs)

    def _column(self, name: str) -> Any:
        rows = getattr(self, name)
        if isinstance(rows, list) and not rows:
            return torch.zeros(0, dtype=self.columns[name]).numpy()
        return dim_zero_cat(rows).cpu().numpy()


class AUC(_Gathered):
    """Area under the ROC curve over all rows since the last reset; NaN where a class is missing.

    Scores are kept in float32.
    """

    is_differentiable = False
    higher_is_better = True
    columns: ClassVar = {"score": torch.float32, "label": torch.int8}

    def update(self, score: Tensor, label: Tensor) -> None:
        """Add rows: score (B,), label (B,) of 0 and 1."""
        self._append(score=score, label=label)

    def compute(self) -> Tensor:
        """Return the AUC as a float64 scalar."""
        return torch.tensor(auc(self._column("label"), self._column("score")), dtype=torch.float64)


class UAUC(_Gathered):
    """Unweighted mean of the users' AUC over users with rows of both classes; NaN where there is no such user.

    Scores are kept in float32.
    """

    is_differentiable = False
    higher_is_better = True
    columns: ClassVar = {"user": torch.int64, "score": torch.float32, "label": torch.int8}

    def update(self, user: Tensor, score: Tensor, label: Tensor) -> None:
        """Add rows: user (B,) integers, score (B,), label (B,) of 0 and 1."""
        self._append(user=user, score=score, label=label)

    def compute(self) -> Tensor:
        """Return the UAUC as a float64 scalar."""
        value, _ = uauc(self._column("user"), self._column("label"), self._column("score"))
        return torch.tensor(value, dtype=torch.float64)
