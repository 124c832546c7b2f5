"""The checkpoint from which a stopped run goes on: the last one in its folder, if it is of the same training."""

import logging
from pathlib import Path

from recsys_lora.callbacks.checkpoint import ARTIFACT, LAST
from recsys_lora.methods.checkpoint import open_checkpoint
from recsys_lora.processes.group import ProcessGroup
from recsys_lora.utils.errors import UserError

log = logging.getLogger(__name__)


def resume_checkpoint(folder: Path, key: str, processes: ProcessGroup) -> Path | None:
    """Return the last checkpoint of a run's folder, the same on all processes of the job; None where there is none.

    Args:
        folder: of the run's checkpoints. The first process looks into its own; the others have to see that path, too.
        key: of the artifact that the training is to make; a checkpoint on the way to another one is not taken.
        processes: those of the job.
    """
    return processes.broadcast(_found(folder, key) if processes.is_rank_zero else None)


def _found(folder: Path, key: str) -> Path | None:
    for left in folder.glob(".*.tmp"):  # of a process that was killed while it wrote; the folder's lock says it is gone
        left.unlink()
    path = folder / LAST
    if not path.is_file():
        return None
    try:
        checkpoint = open_checkpoint(path)
    except UserError as error:
        log.warning("%s; training starts from scratch", error)
        return None
    if checkpoint.get(ARTIFACT) != key:
        log.info("%s: of another training: this one starts from scratch", path)
        return None
    log.info("training goes on from step %d of %s", checkpoint["global_step"], path)
    return path
