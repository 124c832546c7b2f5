"""One job: prepare -> CF -> method -> test -> report, in the run's folder."""

import logging
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf, open_dict

from recsys_lora.data.prepared import PreparedData
from recsys_lora.files import home, write_json, write_text
from recsys_lora.pipeline.artifacts import ArtifactStore
from recsys_lora.pipeline.assembly import load_backbone
from recsys_lora.pipeline.collaborative import Collaborative, cf_stage
from recsys_lora.pipeline.config import Config, plain, relocated
from recsys_lora.pipeline.devices import check_devices, device, log_choices, suited
from recsys_lora.pipeline.method import Method, method_stage
from recsys_lora.pipeline.preparation import prepare_stage
from recsys_lora.pipeline.quiet import quiet_libraries, silent
from recsys_lora.pipeline.reporting import log_report, report, report_tasks
from recsys_lora.pipeline.task_testing import TaskTests
from recsys_lora.pipeline.tasks import choose_tasks
from recsys_lora.pipeline.team import Team, is_first, team
from recsys_lora.pipeline.testing import TestRows
from recsys_lora.report.environment import environment

CONFIG_FILE = "config.yaml"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a job made.

    Attributes:
        data: the prepared data set.
        collaborative: the fitted encoder; None where the method needs none.
        method: the trained method; None where the CF model is all there is.
        metrics: what metrics.json holds; None where nothing was tested.
    """

    data: PreparedData
    collaborative: Collaborative | None
    method: Method | None
    metrics: dict[str, Any] | None


def run_job(cfg: DictConfig) -> None:
    """Run one composed config in the folder that Hydra made for it."""
    from hydra.core.hydra_config import HydraConfig

    folder = HydraConfig.get().runtime.output_dir
    with open_dict(cfg):
        cfg.paths.run = folder  # a job of a sweep, or hydra.run.dir=FOLDER: checkpoints and curves follow
        cfg.group = cfg.group or _group(HydraConfig.get())
    execute(plain(cfg), Path(folder))


def _group(hydra: Any) -> str | None:
    """Return what the runs of an experiment, or of a sweep, are called together."""
    from hydra.types import RunMode

    if chosen := hydra.runtime.choices.get("experiment"):
        return str(chosen)
    return Path(hydra.sweep.dir).name if hydra.mode is RunMode.MULTIRUN else None


def execute(config: Config, folder: Path) -> Outcome:
    """Run one checked config.

    Args:
        config: plain containers, as `plain` returns them.
        folder: the run's: gets the config, the records and the results.

    Raises:
        UserError: the input is wrong in a way a person can mend.
    """
    quiet_libraries()
    check_devices(config)
    if is_first():
        write_text(folder / CONFIG_FILE, OmegaConf.to_yaml(OmegaConf.create(config)))
        write_json(folder / "environment.json", environment())
    with team(config["trainer"], folder) as own:
        folder = Path(own.told(str(folder)))
        if own.leads:
            return run_stages(config, folder, own)
        with silent(), tempfile.TemporaryDirectory() as scratch:  # started from outside, beside the first
            return run_stages(config, Path(scratch), own)


def run_stages(config: Config, folder: Path, team: Team) -> Outcome:
    """Run the stages of one job as one of its processes.

    Args:
        config: the run's.
        folder: where this process writes: the run's, or its own where another one leads.
        team: its place among the job's processes.

    Raises:
        UserError: the input is wrong in a way a person can mend.
    """
    if not team.leads:
        config = relocated(config, config["paths"]["run"], str(folder))
    store = ArtifactStore(home() / "artifacts", frozenset(config["stage"]["force"]), team)
    kind, place = get_object(config["model"]["_target_"]), device(config["trainer"])
    config = suited(config, place)
    clock = _Clock()
    data = prepare_stage(config, store)
    config = choose_tasks(config, data)
    clock.lap("prepare")
    collaborative = cf_stage(config, store, data, place, folder) if kind.needs_encoder else None
    clock.lap("cf")
    method = None
    if kind.needs_backbone:
        backbone = load_backbone(config, data, place)
        log_choices(config, backbone)
        method = method_stage(config, store, data, collaborative, backbone, folder)
    clock.lap("method")
    metrics = None
    if config["test"]:
        metrics = _tested(config, folder, store, data, collaborative, method, clock.seconds)
        if team.leads:
            log_report(config, folder, metrics)
        log.info("results are in %s", folder)
    return Outcome(data, collaborative, method, metrics)


def _tested(
    config: Config,
    folder: Path,
    store: ArtifactStore,
    data: PreparedData,
    collaborative: Collaborative | None,
    method: Method | None,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    if method is not None and collaborative is not None and method.module.multi_task:
        questions = TaskTests(config, store, data, collaborative, method)
        return report_tasks(config, folder, questions, collaborative, method, seconds)
    return report(config, folder, TestRows(config, store, data), collaborative, method, seconds)


class _Clock:
    """Wall time of the stages of this run; a reused result costs next to nothing."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.monotonic()

    def lap(self, stage: str) -> None:
        """Book the time since the last lap on a stage."""
        now = time.monotonic()
        self.seconds[stage] = round(now - self._since, 2)
        self._since = now
