"""Loads a finished run for use."""

from collections.abc import Sequence
from pathlib import Path

from recsys_lora.pipeline.artifact_paths import newest_run
from recsys_lora.pipeline.loading import load_run
from recsys_lora.recommender.recommender import Recommender


def load(folder: str | Path, *overrides: str, device: str = "auto", trust: Sequence[str] = ()) -> Recommender:
    """Load a finished run for use: no raw data are read, nothing is trained, nothing is written into the run.

    Args:
        folder: the folder of a run, or of a bundle that `recsys-lora export` made; if it holds several runs, the
            newest is loaded, and the result's `run.folder` names it.
        overrides: as on the command line, for values that change no result, such as `"llm.path=FOLDER"`.
        device: auto, cpu, cuda or cuda:N; auto is a CUDA device if there is one.
        trust: packages, besides this one, whose code the run's config may name, such as that of your own method.

    Returns:
        A recommender that scores, recommends and explains by raw ids; thread-safe.

    Raises:
        UserError: it is not a finished run, a part or the device is missing, or its config names untrusted code.
    """
    return Recommender(load_run(newest_run(Path(folder)), device, overrides, trust))
