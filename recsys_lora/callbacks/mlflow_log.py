"""Metrics in MLflow: in a SQLite file in the run folder, or wherever runs are collected."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities import rank_zero_only

from recsys_lora.callbacks.loggers import require_package
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import write_text

_MLFLOW_ID_FILE = "mlflow_run_id.txt"


class MLflowLog(MLFlowLogger):
    """Lightning's MLflow logger, for a run that may be resumed."""

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        """Log the config once; MLflow refuses changed parameters, as when a run is resumed with a larger budget."""
        if not self.experiment.get_run(self.run_id).data.params:
            super().log_hyperparams(params)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers; MLflow allows no @ in names, so `hr@10` is `hr_at_10` there."""
        super().log_metrics({name.replace("@", "_at_"): value for name, value in metrics.items()}, step)


def mlflow(
    save_dir: str | Path,
    tracking_uri: str | None = None,
    experiment: str = "recsys_lora",
    name: str | None = None,
    group: str | None = None,
    tags: Sequence[str] = (),
) -> MLflowLog:
    """Return an MLflow logger whose run continues after a resume: its id is kept in the run folder.

    Args:
        save_dir: the run folder.
        tracking_uri: where runs are collected; None: `MLFLOW_TRACKING_URI`, else `mlflow.db` (SQLite) in the folder.
        experiment: MLflow's name for a collection of runs.
        name: the run's name.
        group: runs that belong together, as the tag `group`.
        tags: free labels, as the tag `tags`, separated by commas.

    Raises:
        UserError: mlflow is not installed, or the run to continue is not where runs are collected.
    """
    require_package("mlflow")
    folder = Path(save_dir).absolute()
    own = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}"
    kept = folder / _MLFLOW_ID_FILE
    log = MLflowLog(
        experiment_name=experiment,
        run_name=name,
        tracking_uri=own,
        tags={"group": group or "", "tags": ",".join(tags)},
        artifact_location=(folder / "mlflow").as_uri() if own.startswith("sqlite:") else None,
        run_id=kept.read_text(encoding="utf-8").strip() if kept.exists() else None,
    )
    _begin(log, kept, own)
    return log


@rank_zero_only
def _begin(log: MLflowLog, kept: Path, uri: str) -> None:
    """Begin a run, or continue the one whose id is kept."""
    from mlflow.exceptions import MlflowException

    try:
        begun = str(log.run_id)
    except MlflowException as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"logger.mlflow.tracking_uri={uri}: {reason}: check it, or delete {kept}") from error
    if not kept.exists():
        write_text(kept, begun + "\n")
