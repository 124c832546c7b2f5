"""Tokenising the prompts of a training run, and how long its steps wait for batches.

    python benchmarks/tokenising.py                                 # 20,000 prompts, a random 30M Llama, no download
    python benchmarks/tokenising.py --prompts 2000 --epochs 1 --json tokenising.json

Prompts of the same rows, in turn, in one process:

    this package           `TaskPrompts`: all prompts once per run, in bulk, kept in flat arrays
    in a collate function  a DataLoader that renders, tokenises and pads each batch anew in every epoch

`--epochs` is the number of epochs of the second; one epoch is timed and multiplied. It first checks that both give the
same tokens. A step of training LoRA (TALLRec), with the loader used by the package:

    a training step        the next batch, forward, backward and AdamW
    waiting for its batch  the first of these, in the same steps

Ratios are to this package's time, and to the whole step's; each has a target.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from typing import Any

import _models
import _table
import _timing
import scoring
from _table import Aim, Row
from _timing import OURS, Step
from candidates import tallrec

COLLATE, STEP, WAITING = "in a collate function", "a training step", "waiting for its batch"
AIMS = {COLLATE: Aim(1.0), WAITING: Aim(0.02, "at most")}


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = _timing.parser(__doc__, rounds=5)
    _models.add_backbone(parser)
    parser.add_argument("--prompts", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=1, help="epochs of a run")
    parser.add_argument("--batch", type=int, default=8, help="rows of a training batch")
    return parser.parse_args(argv)


class Prompts:
    """Both ways to make the same prompts.

    Args:
        options: the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        import numpy as np

        from recsys_lora.tasks.ctr import of_rows

        data = scoring.make_data(options.prompts)
        self.batch = options.batch
        self.backbone = _models.load(options, data.titles[1:])
        self.module = tallrec(self.backbone, data)
        self.module.to(options.device)
        self.prompts = self.module.datamodule(data, scoring.WORDS, seed=0).prompts["ctr"]
        self.questions = of_rows(data.rows("test").take(np.arange(options.prompts)))

    def once(self) -> Any:
        """Return all prompts, made by the package."""
        return self.prompts.set(self.questions)

    def collated(self) -> Iterator[Any]:
        """Yield the batches of one epoch, tokenised on demand."""
        from torch.utils.data import DataLoader

        examples = list(self.prompts.examples(self.questions, self.module.prompt, [{}] * len(self.questions)))
        encoder, tokenizer = self.prompts.encoder, self.backbone.tokenizer
        tokenizer.padding_side = "right"

        def collate(some: list[Any]) -> Any:
            texts = [self.module.prompt.render(example, scoring.WORDS) for example in some]
            ids = [[*each, *encoder.suffix] for each in encoder.tokenise(texts)]
            return tokenizer.pad({"input_ids": ids}, return_tensors="pt")

        return iter(DataLoader(examples, batch_size=self.batch, collate_fn=collate))

    def epoch(self) -> None:
        """Iterate over the batches of one epoch."""
        for _ in self.collated():
            pass

    def check(self) -> None:
        """Exit if the tokens of the first batch differ."""
        import numpy as np

        first, ours = next(self.collated()), self.once()
        theirs = first["input_ids"][first["attention_mask"].bool()].numpy()
        _timing.same(np.concatenate([ours.prompts[place] for place in range(self.batch)]), theirs, 0.0, COLLATE)


def waits(prompts: Prompts, options: argparse.Namespace) -> dict[str, list[float]]:
    """Return the milliseconds of each training step, and of its wait for the batch."""
    import torch

    from recsys_lora.data.loader import TrainLoader
    from recsys_lora.data.training import TaskOrder, TrainSet

    made, module = TrainSet({"text": prompts.once()}), prompts.module.train()
    order = TaskOrder(made.task, made.lengths, [1.0], options.batch, seed=0)
    batches = iter(TrainLoader(made, order, prompts.backbone.pad_id, "right"))
    optimizer = torch.optim.AdamW([weight for weight in module.parameters() if weight.requires_grad], lr=1e-4)
    times: dict[str, list[float]] = {STEP: [], WAITING: []}
    waited = 0.0

    def step() -> None:
        nonlocal waited
        begun = time.perf_counter()
        batch = next(batches).to(options.device)
        waited = time.perf_counter() - begun
        [group] = batch.versions["text"]
        module.loss(group).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()  # not counted: it also draws the order of the epoch
    for _ in range(min(options.rounds, len(order) - 1)):
        times[STEP].append(1000 * _timing.seconds(step, options))
        times[WAITING].append(1000 * waited)
    return times


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Measure and print."""
    options = arguments(argv)
    _timing.use_threads(options)
    prompts = Prompts(options)
    prompts.check()
    steps: dict[str, Step] = {OURS: prompts.once, COLLATE: prompts.epoch}
    times = _timing.in_turn(steps, options)
    point = f"{options.prompts:,} prompts, {options.epochs} epochs"
    rows = _timing.compared(times, OURS, AIMS, scale={COLLATE: options.epochs}, point=point)
    rows += _timing.compared(waits(prompts, options), STEP, AIMS, point=f"{options.batch} prompts")
    shapes = _models.about(prompts.backbone, options) | {"prompts": options.prompts, "epochs": options.epochs}
    _table.report(rows, _table.environment(options, ("torch", "transformers", "tokenizers"), **shapes), options)
    return rows


if __name__ == "__main__":
    main()
