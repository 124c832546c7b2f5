"""Loggers of a run. Each writes into the run folder and continues there after a resume."""

import csv
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from recsys_lora.callbacks.lightning_internals import has_started
from recsys_lora.utils.errors import UserError, require
from recsys_lora.utils.files import atomic_file, write_text

_CSV_FILE, _WANDB_ID_FILE = "metrics.csv", "wandb_run_id.txt"
_WITHOUT_ACCOUNT = ("offline", "disabled", "dryrun")
"""W&B modes that need no account."""


class CSVLog(Logger):
    """A table `metrics.csv`, one row per logged step, one column per metric, rewritten as a whole at each save.

    Lightning saves after each row. After a resume the table keeps the earlier rows and drops those of steps that are
    repeated. (Lightning's own CSV logger deletes an older file.)

    Args:
        save_dir: the run folder.
    """

    def __init__(self, save_dir: str | Path) -> None:
        super().__init__()
        self._folder = Path(save_dir)
        self._rows: list[dict[str, Any]] | None = None
        self._resumed = False
        self._unsaved = False

    @property
    def name(self) -> str:
        """Lightning's name for this logger."""
        return "csv"

    @property
    def version(self) -> str:
        """Empty: there is one per run folder."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self._folder)

    @property
    def path(self) -> Path:
        """The table."""
        return self._folder / _CSV_FILE

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add to a step's row; values that it has already are ignored (see `BestLast.on_train_batch_end`)."""
        rows = self._load()
        step = step if step is not None else len(rows)
        if self._resumed:
            rows[:] = [row for row in rows if int(row["step"]) < step]
            self._resumed = False
        values = {name: float(value) for name, value in metrics.items()}
        last = rows[-1] if rows and rows[-1]["step"] == step else {}
        if values.items() <= last.items():
            return
        if last and not values.keys() & last.keys() - {"epoch"}:
            last.update(values)
        else:
            rows.append({"step": step, **values})
        self._unsaved = True

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the run folder holds the resolved config."""

    @rank_zero_only
    def save(self) -> None:
        """Write the table."""
        if not self._unsaved:
            return
        rows = self._load()
        names = ["step", *sorted({name for row in rows for name in row} - {"step"})]
        with atomic_file(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=names)
            writer.writeheader()
            writer.writerows(rows)
        self._unsaved = False

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the remaining rows."""
        self.save()

    def _load(self) -> list[dict[str, Any]]:
        if self._rows is None:
            self._rows = []
            if self.path.exists():
                with self.path.open(newline="", encoding="utf-8") as file:
                    table = [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]
                self._rows = [{**row, "step": int(row["step"])} for row in table]
                self._resumed = True
        return self._rows


def require_package(package: str) -> None:
    """Refuse a logger whose package is not installed.

    Raises:
        UserError: the package is not installed.
    """
    require(package, package, otherwise=", or choose logger=csv")


def wandb(
    save_dir: str | Path,
    mode: Literal["online", "offline", "disabled"] | None = None,
    project: str | None = None,
    entity: str | None = None,
    name: str | None = None,
    group: str | None = None,
    job_type: str | None = None,
    tags: Sequence[str] = (),
) -> WandbLogger:
    """Return a Weights & Biases logger whose run continues after a resume: its id is kept in the run folder.

    Args:
        save_dir: the run folder; wandb creates `wandb/` in it.
        mode: `offline` writes files only (`wandb sync` uploads them), `disabled` does nothing; None: `WANDB_MODE`, else
            online.
        project: where runs are collected; None: `WANDB_PROJECT`, else recsys_lora.
        entity: user or team; None: `WANDB_ENTITY`, else the account's own.
        name: the run's name.
        group: runs that belong together: an experiment, a sweep.
        job_type: which part of the work this is.
        tags: free labels.

    Raises:
        UserError: wandb is not installed, or there is no account to log into.
    """
    require_package("wandb")
    chosen = mode or os.environ.get("WANDB_MODE") or "online"
    if chosen not in _WITHOUT_ACCOUNT:
        _refuse_no_account()
    folder = Path(save_dir).absolute()
    return WandbLogger(
        save_dir=folder,
        id=_wandb_id(folder),
        mode=chosen,
        project=project or os.environ.get("WANDB_PROJECT") or "recsys_lora",
        entity=entity,
        name=name,
        group=group,
        job_type=job_type,
        tags=list(tags),
        log_model=False,
    )


@rank_zero_only
def _refuse_no_account() -> None:
    """Raise a `UserError` if no account is logged in, without using the network; for online logging."""
    import wandb as library

    try:
        known = library.login(prompt=False, verify=False)
    except library.errors.Error:
        known = False
    if not known:
        raise UserError("no W&B account here: wandb login, or logger.wandb.mode=offline writes files for wandb sync")


@rank_zero_only
def _wandb_id(folder: Path) -> str:
    """Return the run's id, created at its first start."""
    path = folder / _WANDB_ID_FILE
    if not path.exists():
        write_text(path, uuid.uuid4().hex[:12] + "\n")
    return path.read_text(encoding="utf-8").strip()


def tensorboard(save_dir: str | Path) -> TensorBoardLogger:
    """Return a TensorBoard logger that writes event files to `tensorboard/` in the run folder.

    Raises:
        UserError: tensorboard is not installed.
    """
    require_package("tensorboard")
    return TensorBoardLogger(save_dir=Path(save_dir).absolute(), name="tensorboard", version="")


def log_results(
    loggers: Sequence[Logger],
    metrics: Mapping[str, float],
    tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence[Any]]]],
) -> None:
    """Log a run's test results to the services in which runs are compared; the run's folder holds them anyway.

    Args:
        loggers: the run's loggers.
        metrics: numbers by name; logged as `test/NAME`.
        tables: columns and rows by name; W&B shows them as `test/NAME`.
    """
    for logger in loggers:
        if isinstance(logger, CSVLog):
            continue
        logger.log_metrics({f"test/{name}": value for name, value in metrics.items()})
        if isinstance(logger, WandbLogger):
            for name, (columns, lines) in tables.items():
                logger.log_table(f"test/{name}", columns=list(columns), data=[list(line) for line in lines])


def close(loggers: Sequence[Logger], failed: bool = False) -> None:
    """Finish all loggers at the end of a run, so that everything is on disk (and uploaded) before the process ends."""
    for logger in loggers:
        logger.finalize("failed" if failed else "success")
        if isinstance(logger, WandbLogger) and has_started(logger):
            logger.experiment.finish(exit_code=int(failed))
