"""Logging of the libraries: warnings only, into the run's log."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from transformers.utils import logging as transformers_logging

_CHATTY = ("lightning", "lightning.pytorch", "lightning.fabric", "transformers", "filelock", "httpx", "urllib3")


def quiet_libraries() -> None:
    """Limit libraries to warnings, and turn off their progress bars, for this process."""
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger(name).propagate = True
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).handlers.clear()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    for message in (
        # trainer=gpu warns where there is no deterministic kernel. Attention's backward has one, but PyTorch uses it
        # only with trainer.deterministic=true, and otherwise warns in every run.
        ".*[Aa]ttention defaults to a non-deterministic algorithm.*",
        ".*Sparse invariant checks are implicitly disabled.*",  # PyTorch 2.11, whatever check_invariants is
        ".*LeafSpec.*",
        ".*smaller than the logging interval.*",
        ".*module\\(s\\) in eval mode.*",
        ".*does not have many workers.*",
        ".*no 'val_dataloader'.*",
        ".*sync_dist=True.*",  # values logged at the end of a validation are the same in all processes
    ):
        warnings.filterwarnings("ignore", message=message)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Suppress all output but warnings, where it would appear twice."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.WARNING)
    try:
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        root.setLevel(before)
