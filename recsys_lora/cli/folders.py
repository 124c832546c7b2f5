"""The folder of a run or a sweep: a new one, or that of an unfinished run of the same command.

`status.json` in the folder holds its status and a fingerprint of its config. A lock distinguishes a folder in use from
one whose process was killed: the system releases the lock with the process.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from recsys_lora.cli.status import FINISHED, STATUS, read_status
from recsys_lora.config.edge import containers
from recsys_lora.config.record import RunConfig
from recsys_lora.config.recorded import read_recorded
from recsys_lora.config.roles import Kind, leaves, selected
from recsys_lora.processes.launched import is_rank_zero, started_externally
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import LOCK, content_key
from recsys_lora.utils.locks import locked, take

if TYPE_CHECKING:
    from filelock import BaseFileLock

AUTO, NEVER = "auto", "never"
RUN, SWEEP = "run", "sweep"
KEPT_CONFIG = {RUN: ".hydra/config.yaml", SWEEP: "multirun.yaml"}
NAMED_DIFFERENCES = 3

log = logging.getLogger(__name__)
_locks: "dict[Path, BaseFileLock]" = {}


def choose_folder(cfg: DictConfig, kind: str, fresh: Path) -> Path:
    """Return the folder to work in, locked if it is reused.

    Args:
        cfg: the composed config, including Hydra's own part for a sweep.
        kind: run or sweep.
        fresh: the folder to use if it is a new one; unfinished ones are searched for beside it.

    Raises:
        UserError: `resume` names a folder that belongs to another command, or is in use.
    """
    wanted = OmegaConf.select(cfg, "resume", default=NEVER)
    if not isinstance(wanted, str) or not wanted:
        raise UserError(f"resume={wanted}: auto, never or the folder of a run")
    if not is_rank_zero() or wanted == NEVER:
        return fresh
    if wanted != AUTO:
        return _given(kind, Path(wanted), cfg)
    if kind == SWEEP and started_externally():  # the processes could not agree on the jobs to skip
        return fresh
    own, typed = fingerprint(cfg, kind), list(cfg.hydra.overrides.task)
    for path in sorted(fresh.parent.glob(f"*/{STATUS}"), key=lambda path: path.stat().st_mtime, reverse=True):
        folder, status = path.parent, read_status(path.parent)
        if status is None or status.status == FINISHED:
            continue
        if status.fingerprint != own:  # a default has changed, or a newer version has more keys
            if status.overrides == typed and not is_held(folder):
                log.info("%s: unfinished, of the same command with another config: resume=%s to go on", folder, folder)
        elif link := link_out_of(folder):
            log.warning("%s: passed over, %s leads out of it", folder, link.name)
        elif occupy(folder):
            now = read_status(folder)
            if now is not None and now.fingerprint == own and now.status != FINISHED:
                return folder
            leave(folder)  # it has finished in the meantime
    return fresh


def described(config: Mapping[str, Any], kind: str = RUN) -> dict[str, Any]:
    """Return what identifies a run or a sweep: all values except output locations, and what is swept.

    Args:
        config: plain containers with unresolved interpolations.
        kind: run or sweep.
    """
    kept = selected({key: value for key, value in config.items() if key != "hydra"}, _matters)
    if kind == SWEEP:
        hydra = config["hydra"]
        varied = [line for line in hydra["overrides"]["task"] if _matters(line.lstrip("+~").partition("=")[0])]
        kept["sweep"] = {"overrides": varied, "params": hydra["sweeper"].get("params")}
    return kept


def fingerprint(cfg: DictConfig, kind: str = RUN) -> str:
    """Return a hash of `described` as 16 hex digits.

    Numbers are compared by value, as for `resume=FOLDER`: `model.alpha=32` and `model.alpha=32.0` are the same run
    here, as in the keys of artifacts. For a setting that distinguishes the two types, so do the artifacts' keys.
    """
    return content_key(_by_value(described(containers(cfg, resolve=False), kind)))


def occupy(folder: Path) -> bool:
    """Acquire a folder's lock unless this process holds it; return whether this process holds it now."""
    from filelock import Timeout

    folder = folder.absolute()
    if folder not in _locks:
        try:
            _locks[folder] = take(folder / LOCK, timeout=0)
        except Timeout:
            return False
    return True


def hold(folder: Path) -> None:
    """Acquire a folder's lock.

    Raises:
        UserError: another process holds it.
    """
    if not occupy(folder):
        raise UserError(f"{folder}: another process is at work in it: wait for its end, or give resume=never")


def link_out_of(folder: Path) -> Path | None:
    """Return a symbolic link that leads out of a folder, so that a run would write elsewhere; None if there is none."""
    inside = folder.resolve()
    links = (path for path in folder.rglob("*") if path.is_symlink())
    return next((link for link in links if not link.resolve().is_relative_to(inside)), None)


def is_held(folder: Path) -> bool:
    """Return whether a process is at work in a folder; without permission to write there, the answer is True."""
    from filelock import Timeout

    if folder.absolute() in _locks:
        return True
    if not (folder / LOCK).is_file():
        return False
    try:
        with locked(folder / LOCK, timeout=0):
            return False
    except (Timeout, UserError):
        return True


def leave(folder: Path) -> None:
    """Release a folder's lock."""
    if lock := _locks.pop(folder.absolute(), None):
        lock.release()


def _by_value(value: Any) -> Any:
    """Return containers with whole-number floats as integers."""
    if isinstance(value, dict):
        return {key: _by_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_by_value(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _matters(key: str) -> bool:
    return RunConfig.role_of(key).kind is not Kind.PLACE


def _leaves(path: Path, config: Mapping[str, Any], kind: str) -> dict[str, Any]:
    try:
        return dict(leaves(described(config, kind)))
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not the config of a {kind}: give another folder, or resume=never") from error


def _given(kind: str, folder: Path, cfg: DictConfig) -> Path:
    """Return the folder that `resume` names; raise a `UserError` if it belongs to another command or is in use."""
    path = folder / KEPT_CONFIG[kind]
    if not path.is_file():
        raise UserError(f"resume={folder}: not the folder of a {kind} ({path} is not there): give one, auto or never")
    if link := link_out_of(folder):
        raise UserError(f"resume={folder}: {link} leads out of the folder: delete it, or resume=never")
    before, now = (_leaves(path, config, kind) for config in (read_recorded(path), containers(cfg, resolve=False)))
    differing = [key for key in dict.fromkeys([*now, *before]) if before.get(key) != now.get(key)]
    if differing:
        named = ", ".join(f"{key} was {before.get(key)}, is {now.get(key)}" for key in differing[:NAMED_DIFFERENCES])
        more = len(differing) - NAMED_DIFFERENCES
        rest = f" and {more} more" if more > 0 else ""
        raise UserError(f"resume={folder}: another config ({named}{rest}): give the same overrides, or resume=never")
    hold(folder)
    return folder
