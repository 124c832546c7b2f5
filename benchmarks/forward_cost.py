"""Fixed cost of a forward and its backward, in tokens: the number behind `mixing.forward_overhead_tokens=auto`.

    python benchmarks/forward_cost.py                               # a random 30M Llama, no download
    python benchmarks/forward_cost.py --llm smollm2_135m --dtype bfloat16 --compiled --json forward_cost.json

A training step of CKF's text half is timed on batches of B questions of T tokens each. A straight line is fitted to
time as a function of B·T, by least squares; its intercept is the fixed cost of a step, which divided by the slope is a
number of tokens. Splitting a batch in two pays if it saves more padding than that. The ratio is the time over the
smallest batch's, in the same round.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import _models
import _table
import _timing
import ckf_step
from _table import Row
from _timing import Step

SIZES = ((1, 72), (2, 72), (4, 72), (8, 72), (4, 144), (8, 144))


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = _timing.parser(__doc__, rounds=5)
    _models.add_backbone(parser)
    parser.add_argument("--rank", type=int, default=16, help="R")
    parser.add_argument("--compiled", action="store_true", help="with compiled blocks")
    options = parser.parse_args(argv)
    options.batch = max(rows for rows, _ in SIZES)
    return options


def batches(options: argparse.Namespace, module: Any) -> dict[tuple[int, int], Any]:
    """Return one batch per size, of questions that are answered by one token."""
    import torch

    vocabulary = min(module.backbone.model.config.vocab_size, 2_000)
    questions = ckf_step.make_questions(options, vocabulary).versions["text"]
    generator = torch.Generator().manual_seed(0)
    made = {}
    for rows, tokens in SIZES:
        batch = questions.batch([0] * rows, module.backbone.pad_id, "right")
        ids = torch.randint(3, vocabulary, (rows, tokens), generator=generator)
        mask = torch.ones(rows, tokens, dtype=torch.bool)
        made[rows, tokens] = replace(batch, input_ids=ids, attention_mask=mask).to(options.device)
    return made


def cost(tokens: Sequence[int], milliseconds: Sequence[float]) -> tuple[float, float]:
    """Return the fixed cost of a step in milliseconds and in tokens."""
    import numpy as np

    slope, start = np.polyfit(tokens, milliseconds, 1)
    return float(start), float(start / slope)


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Measure and print."""
    from recsys_lora.llm.compiling import compile_blocks

    options = arguments(argv)
    _timing.use_threads(options)
    module = ckf_step.make_module(options)
    if options.compiled:
        compile_blocks(module.backbone.model, options.device)

    def step(batch: Any) -> None:
        module.loss(batch).sum().backward()
        module.zero_grad(set_to_none=True)

    names = {size: f"{size[0]} of {size[1]} tokens" for size in SIZES}
    made = batches(options, module)
    steps: dict[str, Step] = {names[size]: lambda batch=batch: step(batch) for size, batch in made.items()}
    rows = _timing.compared(_timing.in_turn(steps, options), names[SIZES[0]])
    rows = _timing.with_peaks(rows, steps, options)
    start, worth = cost([count * tokens for count, tokens in SIZES], [row.median_ms for row in rows])
    rows[0] = replace(rows[0], note=f"a step itself: {start:.0f} ms, or {worth:.0f} tokens")
    shapes = _models.about(module.backbone, options) | {"R": options.rank, "compiled": options.compiled}
    _table.report(rows, _table.environment(options, ("torch", "transformers"), **shapes), options)
    return rows


if __name__ == "__main__":
    main()
