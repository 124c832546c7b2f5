"""Which folder a run or a sweep works in: a new one, or that of the same command where it has not finished.

`status.json` in the folder holds how it stands and a fingerprint of its config. A lock tells a folder in which a
process is at work from one whose process was killed: the system frees it with the process.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from recsys_lora.config.edge import containers
from recsys_lora.config.record import RunConfig
from recsys_lora.config.roles import Kind, leaves, selected
from recsys_lora.errors import UserError
from recsys_lora.files import content_key, read_json, write_json

if TYPE_CHECKING:
    from filelock import BaseFileLock

STATUS, LOCK = "status.json", ".lock"
RUNNING, FINISHED, FAILED = "running", "finished", "failed"
AUTO, NEVER = "auto", "never"
RUN, SWEEP = "run", "sweep"
KEPT_CONFIG = {RUN: ".hydra/config.yaml", SWEEP: "multirun.yaml"}
NAMED_DIFFERENCES = 3


@dataclass(frozen=True)
class Status:
    """How a run or a sweep stands.

    Attributes:
        status: running (also of one that was killed), finished or failed.
        overrides: what it was started with.
        error: why it failed, one line; None where it did not.
        fingerprint: of its config, see `described`.
    """

    status: str
    overrides: list[str]
    error: str | None = None
    fingerprint: str | None = None


@dataclass(frozen=True)
class Sweep:
    """A sweep whose folder this process has chosen and holds."""

    folder: Path
    overrides: list[str]
    fingerprint: str


_locks: "dict[Path, BaseFileLock]" = {}
_chosen: dict[str, str] = {}
_sweeps: list[Sweep] = []


def read_status(folder: Path) -> Status | None:
    """Return how the run of a folder stands; None where none has been there."""
    path = folder / STATUS
    return Status(**read_json(path)) if path.is_file() else None


def write_status(folder: Path, status: Status) -> None:
    """Keep how the run of a folder stands."""
    write_json(folder / STATUS, vars(status))


def occupy(folder: Path) -> bool:
    """Take a folder's lock, unless this process has it; returns whether this process has it now."""
    from filelock import FileLock, Timeout

    folder = folder.absolute()
    if folder not in _locks:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        _locks[folder] = lock
    return True


def leave(folder: Path) -> None:
    """Give a folder's lock back."""
    if lock := _locks.pop(folder.absolute(), None):
        lock.release()


def leads() -> bool:
    """Tell whether this process writes the run's folder: the only one, or the first that torchrun or SLURM started."""
    rank = os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or "0"
    return not started_elsewhere() or int(rank) == 0


def started_elsewhere() -> bool:
    """Tell whether torchrun or SLURM has started this process as one of several."""
    return "LOCAL_RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def described(cfg: DictConfig, kind: str = RUN) -> dict[str, Any]:
    """Return what makes two runs, or sweeps, the same: all values but the places they write to, and what is swept."""
    config = containers(cfg, resolve=False)
    hydra = config.pop("hydra", None)
    kept = selected(config, lambda key: RunConfig.role_of(key).kind is not Kind.PLACE)
    if kind == SWEEP:
        assert hydra is not None
        varied = [line for line in hydra["overrides"]["task"] if not line.startswith(("resume=", "paths."))]
        kept["sweep"] = {"overrides": varied, "params": hydra["sweeper"].get("params")}
    return kept


def fingerprint(cfg: DictConfig, kind: str = RUN) -> str:
    """Return 16 hex digits over `described`."""
    return content_key(described(cfg, kind))


def resumed(kind: str, fresh: str, *, _root_: DictConfig) -> str:
    """Return the folder to work in: OmegaConf's resolver of `hydra.run.dir` and `hydra.sweep.dir`.

    Args:
        kind: run or sweep.
        fresh: the new folder that it would be; unfinished ones are looked for beside it.
        _root_: the whole composed config.

    Raises:
        UserError: `resume` names a folder that is not of the same command, or is in use.
    """
    if fresh not in _chosen:
        folder = _choose(kind, Path(fresh), _root_)
        if kind == SWEEP and leads():
            _hold_sweep(folder, _root_)
        _chosen[fresh] = str(folder)
    return _chosen[fresh]


def end_sweeps() -> None:
    """Keep how the sweeps of this process have ended, once all their jobs have been run."""
    while _sweeps:
        sweep = _sweeps.pop()
        jobs = [read_status(path.parent) for path in sweep.folder.glob(f"*/{STATUS}")]
        done = bool(jobs) and all(job is not None and job.status == FINISHED for job in jobs)
        write_status(sweep.folder, Status(FINISHED if done else FAILED, sweep.overrides, None, sweep.fingerprint))
        leave(sweep.folder)


def _choose(kind: str, fresh: Path, cfg: DictConfig) -> Path:
    wanted = OmegaConf.select(cfg, "resume")
    if not isinstance(wanted, str) or not wanted:
        raise UserError(f"resume={wanted}: auto, never or the folder of a run")
    if not leads() or wanted == NEVER:
        return fresh
    if wanted != AUTO:
        return _given(kind, Path(wanted), cfg)
    if kind == SWEEP and started_elsewhere():  # the processes could not agree which jobs are left out
        return fresh
    own = fingerprint(cfg, kind)
    for folder in sorted(fresh.parent.glob(f"*/{STATUS}"), key=lambda path: path.stat().st_mtime, reverse=True):
        if _unfinished(folder.parent, own) and occupy(folder.parent):
            if _unfinished(folder.parent, own):
                return folder.parent
            leave(folder.parent)  # it has finished meanwhile
    return fresh


def _unfinished(folder: Path, own: str) -> bool:
    status = read_status(folder)
    return status is not None and status.fingerprint == own and status.status != FINISHED


def _given(kind: str, folder: Path, cfg: DictConfig) -> Path:
    """Return the folder that `resume` names, after a check that it is of the same command.

    Raises:
        UserError: it is not, or it is in use.
    """
    path = folder / KEPT_CONFIG[kind]
    if not path.is_file():
        raise UserError(f"resume={folder}: not the folder of a {kind} ({path} is not there): give one, auto or never")
    former = OmegaConf.load(path)
    assert isinstance(former, DictConfig)
    before, now = (dict(leaves(described(config, kind))) for config in (former, cfg))
    differing = [key for key in dict.fromkeys([*now, *before]) if before.get(key) != now.get(key)]
    if differing:
        named = ", ".join(f"{key} was {before.get(key)}, is {now.get(key)}" for key in differing[:NAMED_DIFFERENCES])
        more = len(differing) - NAMED_DIFFERENCES
        rest = f" and {more} more" if more > 0 else ""
        raise UserError(f"resume={folder}: another config ({named}{rest}): give the same overrides, or resume=never")
    if not occupy(folder):
        raise UserError(in_use(folder))
    return folder


def in_use(folder: Path) -> str:
    """Return the line that refuses a folder which another process works in."""
    return f"{folder}: another process is at work in it: wait for its end, or take another with resume=never"


def _hold_sweep(folder: Path, cfg: DictConfig) -> None:
    if not occupy(folder):
        raise UserError(in_use(folder))
    sweep = Sweep(folder, list(cfg.hydra.overrides.task), fingerprint(cfg, SWEEP))
    _sweeps.append(sweep)
    write_status(folder, Status(RUNNING, sweep.overrides, None, sweep.fingerprint))
