"""A finished run, loaded to be used."""

from collections.abc import Sequence
from pathlib import Path

from recsys_lora.pipeline.artifact_paths import newest_run
from recsys_lora.pipeline.loading import load_run
from recsys_lora.recommender.recommender import Recommender


def load(folder: str | Path, *overrides: str, device: str = "auto", trust: Sequence[str] = ()) -> Recommender:
    """Load a finished run to use it: no raw data are read, nothing is trained, nothing is written into the run.

    Args:
        folder: of the run, or of a bundle that `recsys-lora export` made; where it holds several, the newest is
            loaded, which `run.folder` of the result names.
        overrides: as on the command line, of values that change no result: `"llm.path=FOLDER"`.
        device: auto, cpu, cuda or cuda:N; auto is a CUDA device where there is one.
        trust: packages whose code the run's config may name, besides this one: that of a method of your own.

    Returns:
        What scores, recommends and explains by raw ids, from any number of threads.

    Raises:
        UserError: it is no finished run, something of it is gone, the device is not there, or its config names
            code that is not trusted.
    """
    return Recommender(load_run(newest_run(Path(folder)), device, overrides, trust))
