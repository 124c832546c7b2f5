"""One job: prepare -> CF -> method -> test -> report, in the run's folder."""

import logging
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.utils import get_object

from recsys_lora.config.method_rules import broken, refuse_unfit
from recsys_lora.config.record import RunConfig
from recsys_lora.config.recorded import write_recorded
from recsys_lora.data.prepared import PreparedData
from recsys_lora.methods.checkpoint import open_checkpoint
from recsys_lora.pipeline.artifact_paths import CONFIG_FILE, STORE, write_artifact_paths
from recsys_lora.pipeline.artifacts import ArtifactStore
from recsys_lora.pipeline.assembly import check_source, load_backbone
from recsys_lora.pipeline.collaborative import Collaborative, cf_stage
from recsys_lora.pipeline.devices import check_devices, device, log_choices, suited
from recsys_lora.pipeline.logging_setup import quiet_libraries, silent
from recsys_lora.pipeline.method import Method, MethodStage, check_assembly
from recsys_lora.pipeline.preparation import prepare_stage
from recsys_lora.pipeline.reporting import log_report, report
from recsys_lora.pipeline.sharded import wants_shards
from recsys_lora.pipeline.tasks import asked_tasks, choose_tasks
from recsys_lora.pipeline.testing import EvaluationRows
from recsys_lora.pipeline.trainer import build_loggers
from recsys_lora.processes.group import SINGLE, ProcessGroup, local_processes, process_group
from recsys_lora.processes.launched import is_rank_zero
from recsys_lora.report.environment import environment
from recsys_lora.report.visual.page import write_report
from recsys_lora.tasks.task import Task
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import home, make_folder, write_json

_WORKER = "recsys_lora.pipeline.worker"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """The results of a job.

    Attributes:
        data: the prepared data set.
        collaborative: the fitted encoder; None if the method needs none.
        method: the method, trained unless it comes from `build`; None if the run has only a CF model.
        metrics: the contents of metrics.json; None if nothing was tested.
    """

    data: PreparedData
    collaborative: Collaborative | None
    method: Method | None
    metrics: dict[str, Any] | None


def run_config(config: RunConfig) -> Outcome:
    """Run all stages of a config in this process; cached results are reused.

    Args:
        config: from `compose`.

    Returns:
        The prepared data, the fitted encoder, the trained method and the contents of metrics.json.

    Raises:
        UserError: the input is wrong; the message says what to do.
    """
    folder = Path(config.paths.run)
    make_folder(folder, "paths.runs=FOLDER")
    return execute(config, folder)


def execute(config: RunConfig, folder: Path) -> Outcome:
    """Run a checked config; write the config, the records and the results into the run's folder.

    Raises:
        UserError: the input is wrong; the message says what to do.
    """
    quiet_libraries()
    check_devices(config, folder)
    if is_rank_zero():
        _check_what_is_named(config)
        for line in broken(config.as_dict(), "noted"):
            log.warning(line)
        write_recorded(folder / CONFIG_FILE, config.as_dict())
        write_json(folder / "environment.json", environment())
    with process_group(config.trainer, folder, _WORKER) as processes:
        folder = Path(processes.broadcast(str(folder)))
        if processes.is_rank_zero:
            return run_stages(config, folder, processes)
        with silent(), tempfile.TemporaryDirectory() as scratch:  # started by torchrun or SLURM, beside rank 0
            return run_stages(config, Path(scratch), processes)


def _check_what_is_named(config: RunConfig) -> None:
    """Refuse a missing service, task, model or checkpoint, before anything is read or fitted."""
    build_loggers(config)  # raises if something is missing, such as an account
    kind = get_object(config.model["_target_"])
    asked_tasks(config)
    if kind.needs_backbone:
        check_source(config)
    if config.ckpt_path and not kind.trains:
        raise UserError(f"ckpt_path: nothing of model={config.model['name']} is trained: leave it out")
    if config.ckpt_path:
        open_checkpoint(Path(config.ckpt_path))


def build(config: RunConfig) -> Outcome:
    """Return what a run would train, untrained, for a trainer of your own; writes no results.

    The data set is prepared and the CF model fitted, or taken from the cache. So is a method's first stage, which the
    config's trainer trains; its checkpoints and curves are in the run's folder. Otherwise only the trainer's device is
    used.

    Args:
        config: from `compose`.

    Returns:
        The prepared data, the fitted encoder, the method before its first step; no metrics.

    Raises:
        UserError: the input is wrong, or the config names a checkpoint, several processes, or `train=false`.
    """
    quiet_libraries()
    if config.ckpt_path:
        raise UserError("ckpt_path: nothing goes on from it here: leave it out, and give it to your trainer's fit")
    if not config.train:
        raise UserError("train=false: the method is not trained here anyway: leave it out")
    if local_processes(config.trainer) > 1 or wants_shards(config.trainer):
        raise UserError(
            "trainer: what is built is of one process: choose trainer=cpu or gpu; your own may have several"
        )
    folder = Path(config.paths.run)
    check_devices(config, folder)
    kind = get_object(config.model["_target_"])
    asked_tasks(config)
    if kind.needs_backbone:
        check_source(config)
    if config.first:  # it is trained here
        make_folder(folder, "paths.runs=FOLDER")
        build_loggers(config)
    parts = _parts(config, folder, SINGLE, _Clock())
    return Outcome(parts.data, parts.collaborative, parts.stage.untrained() if parts.stage else None, None)


def run_stages(config: RunConfig, folder: Path, processes: ProcessGroup) -> Outcome:
    """Run the stages of one job as one of its processes.

    Args:
        config: the run's.
        folder: where this process writes: the run's folder for rank 0, else one of its own.
        processes: the processes of the job.

    Raises:
        UserError: the input is wrong; the message says what to do.
    """
    if not processes.is_rank_zero:
        config = config.at(str(folder))
    clock = _Clock()
    parts = _parts(config, folder, processes, clock)
    config, store, data, collaborative = parts.config, parts.store, parts.data, parts.collaborative
    method = parts.stage.run() if parts.stage else None
    clock.lap("method")
    if processes.is_rank_zero:
        encoder, key = (None, None) if collaborative is None else (collaborative.folder, collaborative.key)
        write_artifact_paths(folder, store.root, data.folder, encoder, key, None if method is None else method.weights)
    metrics = None
    if config.test:
        rows = EvaluationRows(config, store, data, parts.tasks, collaborative, method)
        metrics = report(config, folder, rows, clock.seconds)
        if processes.is_rank_zero:
            log_report(config, folder, metrics)
            log.info("report: %s", write_report(folder))
        log.info("results are in %s", folder)
    return Outcome(data, collaborative, method, metrics)


@dataclass(frozen=True)
class _Parts:
    """A run's parts before training: `config` as completed by the data and the device, `stage` to train the method."""

    config: RunConfig
    store: ArtifactStore
    data: PreparedData
    tasks: Mapping[str, Task]
    collaborative: Collaborative | None
    stage: MethodStage | None


def _parts(config: RunConfig, folder: Path, processes: ProcessGroup, clock: "_Clock") -> _Parts:
    """Prepare the data, load the backbone and fit the encoder."""
    store = ArtifactStore(home() / STORE, frozenset(config.stage.force), processes)
    kind, place = get_object(config.model["_target_"]), device(config.trainer)
    config = suited(config, place)
    data = prepare_stage(config, store)
    tasks = choose_tasks(config, data)
    config = replace(config, tasks=list(tasks), task={name: config.task[name] for name in tasks})
    refuse_unfit(config.as_dict())  # again: if the data decide the tasks, they are known only now
    clock.lap("prepare")
    backbone = None
    if kind.needs_backbone:
        backbone = load_backbone(config, data, place)
        log_choices(config, backbone)
        with silent():  # its messages follow when the method is built
            check_assembly(config, store, data, tasks, backbone)
        clock.lap("method")
    collaborative = cf_stage(config, store, data, place, folder) if kind.needs_encoder else None
    clock.lap("cf")
    stage = None
    if backbone is not None:
        stage = MethodStage(config, store, data, tasks, collaborative, backbone, folder)
    return _Parts(config, store, data, tasks, collaborative, stage)


class _Clock:
    """Wall time of this run's stages; reused results cost next to nothing."""

    def __init__(self) -> None:
        self.seconds = {"prepare": 0.0, "cf": 0.0, "method": 0.0}
        self._since = time.monotonic()

    def lap(self, stage: str) -> None:
        """Add the time since the last lap to a stage."""
        now = time.monotonic()
        self.seconds[stage] = round(self.seconds[stage] + now - self._since, 2)
        self._since = now
