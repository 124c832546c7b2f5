"""All uses of Lightning's private names.

Exact resume depends on knowing, between two batches, what Lightning is about to do. Because of these names,
`pyproject.toml` bounds Lightning's version from above; `make test-newest` and `make test-oldest` test both ends.
"""

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import WandbLogger


def gradients_add_up(trainer: Trainer) -> bool:
    """Return whether the current batch ends without an optimiser step."""
    return bool(trainer.fit_loop._should_accumulate())


def validation_or_epoch_end_due(trainer: Trainer) -> bool:
    """Return whether a validation or the end of the epoch follows this batch, or it ends without an optimiser step."""
    fit = trainer.fit_loop
    epoch, fetcher = fit.epoch_loop, fit._data_fetcher
    assert fetcher is not None, "called outside a training epoch"
    return bool(epoch._should_check_val_fx(fetcher) or epoch._num_ready_batches_reached() or epoch._should_accumulate())


def logs_now(trainer: Trainer) -> bool:
    """Return whether loggers get the values of the current step."""
    return bool(trainer._logger_connector.should_update_logs)


def log_step(trainer: Trainer) -> None:
    """Log the current step's values now, before Lightning does."""
    trainer._logger_connector.update_train_step_metrics()


def has_started(logger: WandbLogger) -> bool:
    """Return whether a W&B run has been started, without starting one."""
    return logger._experiment is not None
