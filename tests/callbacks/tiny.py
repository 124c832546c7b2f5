"""A model with dropout and a loader that goes on where it was: enough to see whether a resume is exact."""

from dataclasses import dataclass

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer

from recsys_lora.callbacks.checkpoint import BestLast
from recsys_lora.callbacks.early_stopping import StopEarly
from recsys_lora.callbacks.loggers import CSVLog
from recsys_lora.callbacks.measure import LearningRateAndGradient
from recsys_lora.callbacks.random_state import RandomState
from recsys_lora.evaluation.torch_metrics import AUC


@dataclass
class Batch:
    x: torch.Tensor
    y: torch.Tensor

    def __len__(self):
        return len(self.x)

    @property
    def tokens(self):
        return torch.tensor(self.x.numel())


class Sampler:
    epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch


class Loader:
    """Ten batches an epoch, in an order that is a function of the epoch."""

    def __init__(self, batches=10):
        self.sampler, self.batches, self.resume = Sampler(), batches, None
        self.state = {"epoch": 0, "position": 0}

    def __len__(self):
        return self.batches

    def __iter__(self):
        epoch, resume, self.resume = self.sampler.epoch, self.resume, None
        first = resume["position"] if resume and resume["epoch"] == epoch else 0
        generator = torch.Generator().manual_seed(100 + epoch)
        for number in range(self.batches):
            x, noise = torch.randn(8, 6, generator=generator), torch.randn(8, generator=generator)
            if number >= first:
                self.state = {"epoch": epoch, "position": number + 1}
                yield Batch(x, (x[:, 0] + 0.5 * noise > 0).float())

    def state_dict(self):
        return dict(self.state)

    def load_state_dict(self, state):
        self.state, self.resume = dict(state), dict(state)


def valid_batches():
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(64, 6, generator=generator)
    return [(x, (x[:, 0] + torch.randn(64, generator=generator) > 0).float())]


class Tiny(LightningModule):
    def __init__(self, lr=0.05, nan_at=None, batches=10):
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Dropout(0.5), torch.nn.Linear(16, 1))
        self.auc, self.lr, self.nan_at, self.batches = AUC(), lr, nan_at, batches
        self.losses, self.seen = [], []

    def training_step(self, batch, batch_idx):
        x, y = batch.x, batch.y
        # Dropout aside, numpy and Python draw, too.
        noise = float(np.random.rand())
        loss = torch.nn.functional.binary_cross_entropy_with_logits(self.net(x)[:, 0] + 1e-3 * noise, y)
        if self.nan_at is not None and self.global_step == self.nan_at:
            loss = loss * float("nan")
        self.losses.append((self.global_step, loss.item()))
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.auc.update(self.net(x)[:, 0], y)

    def on_validation_epoch_end(self):
        value = self.auc.compute()
        self.seen.append((self.global_step, value.item()))
        self.auc.reset()
        self.log("valid/auc", value)

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + 0.1 * step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def train_dataloader(self):
        return Loader(self.batches)

    def val_dataloader(self):
        return torch.utils.data.DataLoader(valid_batches(), batch_size=None)


def callbacks(folder, patience=100, every_n_steps=None):
    return [
        BestLast(folder / "checkpoints", every_n_steps=every_n_steps),
        StopEarly(patience),
        RandomState(),
        LearningRateAndGradient(),
    ]


def trainer(folder, more=(), patience=100, every_n_steps=None, **options):
    settings = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 3,
        "val_check_interval": 4,
        "log_every_n_steps": 1,
        "num_sanity_val_steps": 0,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "logger": CSVLog(folder),
    } | options
    return Trainer(callbacks=[*callbacks(folder, patience, every_n_steps), *more], **settings)
