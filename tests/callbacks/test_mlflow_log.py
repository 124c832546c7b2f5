"""What is logged to MLflow can be read back with its own client."""

import pytest

from recsys_lora.callbacks.loggers import close, log_results
from recsys_lora.callbacks.mlflow_log import mlflow
from recsys_lora.utils.errors import UserError


def test_mlflow_writes_a_run_that_goes_on_after_a_resume(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for value in (0.5, 0.75):
        log = mlflow(tmp_path, name="a run", group="g", tags=["x", "y"])
        log.log_hyperparams({"model": {"rank": value}})
        log.log_metrics({"valid/auc": value}, int(100 * value))
        log_results([log], {"auc": value, "topk/hr@10": value}, {})
        close([log])
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("recsys_lora").experiment_id])
    assert (tmp_path / "mlflow_run_id.txt").read_text().strip() == run.info.run_id
    assert (run.info.run_name, run.info.status) == ("a run", "FINISHED")
    assert (run.data.tags["group"], run.data.tags["tags"]) == ("g", "x,y")
    assert run.data.params == {"model/rank": "0.5"}
    history = client.get_metric_history(run.info.run_id, "valid/auc")
    assert sorted((point.step, point.value) for point in history) == [(50, 0.5), (75, 0.75)]
    assert run.data.metrics["test/auc"] == 0.75
    assert run.data.metrics["test/topk/hr_at_10"] == 0.75


def test_mlflow_says_where_a_kept_run_is_not(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    (tmp_path / "mlflow_run_id.txt").write_text("0" * 32)
    with pytest.raises(UserError, match=r"tracking_uri=sqlite:.*check it, or delete .*mlflow_run_id\.txt"):
        mlflow(tmp_path, tracking_uri=f"sqlite:///{tmp_path / 'elsewhere.db'}")
