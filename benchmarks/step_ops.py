"""Operations that a step launches on a device, and waits of the host for it: counted on a CPU, not timed.

    python benchmarks/step_ops.py                                  # 30 narrow blocks in bfloat16, as many as SmolLM2's
    python benchmarks/step_ops.py --json step_ops.json --before step_ops_before.json

A GPU is never idle if the host launches operations faster than the GPU computes them; with a slow host it waits for
every launch. Their number depends on a model's blocks and not on its width, so a narrow model is used. `_ops.py`
defines operations and waits.

A training step is one of Lightning's: a batch to the device, forward, backward, clipping, AdamW, and the callbacks and
logging of `conf/callbacks/default.yaml` (without the progress line, which reads the loss twice a second). As on a GPU,
attention is torch's kernel, batches are not split, and losses are checked when loggers write. Steps at which they do
are left out, as loggers read what they write. Scoring is one batch of `Answering`, or of CKF's choices.

`--before` names a record of an earlier version, whose counts are then shown beside: it is made by this same script,
with that version on `PYTHONPATH`.
"""

import argparse
import inspect
import json
import tempfile
import unittest.mock
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import _models
import _table
import _timing
import candidates
import ckf_step
import scoring

METHODS = ("cora", "ckf", "collm", "tallrec")
STEPS, BETWEEN_LOGS = 4, 100
NAMES = ("operations, step", "waits, step", "operations, scoring", "waits, scoring")


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = _timing.parser(__doc__, rounds=2)
    parser.add_argument("--blocks", type=int, default=30, help="decoder blocks")
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--batch", type=int, default=8, help="rows of a batch")
    parser.add_argument("--dropout", type=float, default=0.05, help="of the low-rank updates")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--before", type=Path, help="a record of an earlier version")
    parser.set_defaults(llm="tiny", rank=16)
    return parser.parse_args(argv)


def batches_of(data: Any, pairs: Any, made: Sequence[Any]) -> Any:
    """Return a data module with these training batches, and what else methods ask of one."""
    import lightning

    class Loader:
        """Iterates over batches that are already made."""

        def __len__(self) -> int:
            return len(made)

        def __iter__(self) -> Iterator[Any]:
            return iter(made)

    class Batches(lightning.LightningDataModule):
        """The same batches in every epoch."""

        def __init__(self) -> None:
            super().__init__()
            # to measure vectors on
            self.data = data
            self.train_pairs = pairs
            self.seed = 0

        def train_dataloader(self) -> Any:
            """Return the batches; Lightning would treat a list as several loaders."""
            return Loader()

    return Batches()


def trained(module: Any, datamodule: Any) -> tuple[int, int]:
    """Return the operations and waits of one Lightning step at which no logger reads."""
    import lightning
    from _ops import Count

    from recsys_lora.callbacks.guard import StopOnNaN
    from recsys_lora.callbacks.loggers import CSVLog
    from recsys_lora.callbacks.measure import LearningRateAndGradient, Throughput
    from recsys_lora.callbacks.random_state import RandomState

    count = Count([*module.parameters(), *module.buffers()])
    totals = []

    class Mark(lightning.Callback):
        """Records the counts after each step."""

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            """Update all parameters together if torch would do so on a GPU."""
            for optimizer in trainer.optimizers:
                for group in optimizer.param_groups:
                    group["foreach"] = None if group["fused"] else True

        def on_train_batch_end(self, *_: Any) -> None:
            """Record them."""
            totals.append(count.totals())

    # A version that checks every loss has no such setting.
    rare = {"every_n_steps": BETWEEN_LOGS} if "every_n_steps" in inspect.signature(StopOnNaN).parameters else {}
    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_steps=STEPS,
            logger=CSVLog(folder),
            log_every_n_steps=BETWEEN_LOGS,
            gradient_clip_val=1.0,
            callbacks=[StopOnNaN(folder, **rare), LearningRateAndGradient(), Throughput(), RandomState(), Mark()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        with count:
            trainer.fit(module, datamodule)
    (before, waited), (after, waits) = totals[-2:]
    return after - before, waits - waited


def question(name: str, options: argparse.Namespace) -> tuple[int, int, int, int]:
    """Return the counts of a method that answers one question."""
    import numpy as np
    from _ops import Count

    from recsys_lora.data.training import TrainSet
    from recsys_lora.methods.answering import Answering
    from recsys_lora.methods.optimizer import OptimizerSettings
    from recsys_lora.tasks.ctr import of_rows

    data = scoring.make_data(2 * options.batch)
    backbone = _models.load(options, data.titles[1:])
    module = candidates.METHODS[name](backbone, data)
    module.optimizer_settings = OptimizerSettings()
    module.batch_size = options.batch
    for source in module.lowrank.modules():
        if hasattr(source, "dropout_per"):
            source.dropout = options.dropout
    datamodule = module.datamodule(data, scoring.WORDS, seed=0)
    questions = of_rows(data.rows("test"))
    prompts = datamodule.prompts["ctr"].set(questions)
    train = TrainSet({module.versions[0]: prompts})
    batches = [train.batch(np.arange(options.batch), backbone.pad_id, "right") for _ in range(STEPS)]
    step = trained(module, batches_of(data, questions.pairs(), batches))

    one = int(prompts.prompts.lengths.argmax())
    datamodule.token_budget = options.batch * int(prompts.prompts.lengths[one])
    counts = []
    for batches in (2, 3):  # work done once is in both
        with Count([*module.parameters(), *module.buffers()]) as count:
            Answering(module, datamodule)("ctr", questions.take(np.full(batches * options.batch, one)), show=False)
        counts.append(count.totals())
    (fewer, waited), (more, waits) = counts
    module.release()
    return *step, more - fewer, waits - waited


def ckf(options: argparse.Namespace) -> tuple[int, int, int, int]:
    """Return the counts of CKF on four tasks; a batch is scored for one of them."""
    import numpy as np
    import torch
    from _ops import Count

    module = ckf_step.make_module(options)
    for source in module.lowrank.modules():
        if hasattr(source, "dropout_per"):
            source.dropout = options.dropout
    questions = replace(
        ckf_step.make_questions(options, 2_000), forward_overhead_tokens=None
    )  # batches are not split on a GPU
    pad = module.backbone.pad_id
    batches = [questions.batch(np.arange(options.batch), pad, "right") for _ in range(STEPS)]
    data = scoring.make_data(16)
    module.calibrate = lambda *_: None  # the made-up questions and their vectors belong to no data set
    step = trained(module, batches_of(data, (), batches))
    alike = np.flatnonzero(questions.task == 0)
    module.eval()
    with Count([*module.parameters(), *module.buffers()]) as count, torch.inference_mode():
        own = questions.versions["collaborative"].batch(alike, pad, "right")
        module(own.to(module.device)).double().cpu()
    return *step, *count.totals()


def counted(options: argparse.Namespace) -> dict[str, tuple[int, int, int, int]]:
    """Return the counts by method, in the order of `NAMES`."""
    from recsys_lora.llm import attention

    with unittest.mock.patch.object(attention, "LIMIT", 0):  # without the attention backward for CPUs
        return {name: ckf(options) if name == "ckf" else question(name, options) for name in options.methods}


def lines(found: Mapping[str, Sequence[int]], before: Path | None) -> tuple[list[str], list[list[str]]]:
    """Return the columns and lines of the table."""
    earlier = {}
    if before is not None:
        kept = json.loads(before.read_text())
        earlier = {line[0]: line[1:] for line in kept["lines"]}
    columns, rows = ["method"], [[method] for method in found]
    for number, name in enumerate(NAMES):
        if earlier:
            columns.append(f"{name}, before")
            for row in rows:
                row.append(earlier[row[0]][number])
        columns.append(name)
        for row in rows:
            row.append(str(found[row[0]][number]))
    return columns, rows


def main(argv: Sequence[str] | None = None) -> dict[str, tuple[int, int, int, int]]:
    """Count and print."""
    options = arguments(argv)
    _timing.use_threads(options)
    found = counted(options)
    shapes = {"blocks": options.blocks, "dtype": options.dtype, "B": options.batch, "dropout": options.dropout}
    about = _table.environment(options, ("torch", "transformers", "lightning"), **shapes)
    for key in ("threads", "rounds", "clock"):
        del about[key]
    _table.report_counts(*lines(found, options.before), about, options)
    return found


if __name__ == "__main__":
    main()
