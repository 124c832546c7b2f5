"""The environment of a run, besides its config: commit, versions, machine, command line."""

import importlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from recsys_lora.utils.errors import UserError, first_problem
from recsys_lora.utils.files import read_json
from recsys_lora.utils.version import __version__

PACKAGES = (
    "torch", "lightning", "torchmetrics", "transformers", "hydra-core", "omegaconf", "polars", "numpy",
    "safetensors", "gguf",
)  # fmt: skip
_IMPORTED_AS = {"hydra-core": "hydra", "scikit-learn": "sklearn"}
"""Modules of packages with a different name."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
_GIT_SECONDS = 10


class _Record(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class Git(_Record):
    """The checkout that a run was started from."""

    commit: str | None = None
    dirty: bool | None = None


class Hardware(_Record):
    """The hardware available to a run."""

    processor: str
    threads: int
    gpus: list[str]


class Environment(_Record):
    """The fields of environment.json that are read back; the file has more."""

    git: Git | None
    command: str
    started: str
    python: str
    packages: dict[str, str]
    hardware: Hardware


def read_environment(path: Path) -> dict[str, Any]:
    """Read a run's environment.json.

    Raises:
        UserError: it is not a file that a run writes.
    """
    try:
        return Environment.model_validate(read_json(path)).model_dump()
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}: run it again, or leave this run out") from error


def environment() -> dict[str, Any]:
    """Return the record that a run keeps as environment.json."""
    return {
        "recsys_lora": __version__,
        "git": git_state(Path(__file__).parents[1]),
        "command": shlex.join([Path(sys.executable).name, *sys.orig_argv[1:]]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: package_version(name) for name in PACKAGES},
        "hardware": hardware(),
        "variables": {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ},
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return commit, branch and whether files differ from it; None if the package is in no git checkout."""
    root = _git(folder, "rev-parse", "--show-toplevel")
    if root is None or _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None  # no checkout, or an installed copy inside another one
    status = _git(folder, "-C", root, "status", "--porcelain") or ""
    return {
        "commit": _git(folder, "rev-parse", "HEAD"),
        "branch": _git(folder, "rev-parse", "--abbrev-ref", "HEAD"),
        "dirty": bool(status),
        "changed": [line[3:] for line in status.splitlines()],
    }


def hardware() -> dict[str, Any]:
    """Return processors, threads and accelerators as torch sees them."""
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "processor": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda,
        "gpus": gpus,
    }


def package_version(package: str) -> str:
    """Return the version of the imported package, from `__version__` if it has one.

    The package metadata may be less precise: PyPI's torch 2.13.0 is 2.13.0+cu130 on Linux.
    """
    module = importlib.import_module(_IMPORTED_AS.get(package, package))
    return str(getattr(module, "__version__", None) or importlib.metadata.version(package))


def _git(folder: Path, *arguments: str) -> str | None:
    """Return the output of git; None if there is no git or it fails."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=_GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.rstrip("\n") if done.returncode == 0 else None
