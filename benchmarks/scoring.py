"""Scoring prompts with a frozen language model: prompts per second and memory, against two common ways.

    python benchmarks/scoring.py                                    # a random 30M Llama, no download
    python benchmarks/scoring.py --llm smollm2_135m --threads 2 --rounds 3 --json scoring.json

Compared in turn, in one process, on the same rows, including tokenisation:

    this package          `recsys_lora.methods.answering.Answering`: batches of similar lengths with a token budget, and
                          the head only for two tokens at the last position of each prompt
    padded, full logits   transformers: batches of a fixed number of rows in their given order, all logits (B, T, V)
    generate, one by one  transformers: `.generate()` of one token, one prompt at a time

A score is the logit of "Yes" minus that of "No" after a prompt with up to ten titles. It first checks that all give the
same scores. Generation runs on `--generated` rows only, and its time is scaled to all rows. The ratio is a case's time
over this package's, in the same round.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import _models
import _table
import _timing
from _table import Aim, Row
from _timing import OURS, Step

FULL, GENERATE = "padded, full logits", "generate, one by one"
AIMS = {FULL: Aim(1.5), GENERATE: Aim(10)}
TOLERANCE = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 0.02}
"""Relative to the largest logit."""
WORDS = {"item": "movie", "items": "movies"}
QUESTION = (
    'would the user enjoy the {item} titled "{title}"? Answer with "Yes" or "No". \n#Answer:',
    "#Question: A user has given high ratings to the following {items}: {history}. Using this, ",
    "#Question: A user has not given a high rating to any {item} yet: ",
)
TITLE_WORDS = (
    "the of and last night day river city man woman story love war house king road secret return lost white black red "
    "star island dream winter summer dead blue golden little great long hidden silent broken first second"
)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = _timing.parser(__doc__, rounds=3)
    _models.add_backbone(parser)
    parser.add_argument("--rows", type=int, default=96, help="prompts to score")
    parser.add_argument("--batch", type=int, default=32, help="rows of a batch of transformers")
    parser.add_argument("--token-budget", type=int, default=4096, help="padded tokens of a batch of this package")
    parser.add_argument("--generated", type=int, default=24, help="prompts that `generate` is timed on")
    return parser.parse_args(argv)


def make_data(rows: int) -> Any:
    """Return users whose histories grow from 0 to 15 titles of 1 to 9 words; all rows are in the test split."""
    import numpy as np
    import polars as pl

    from recsys_lora.data.prepared import PreparedData

    random = np.random.default_rng(0)
    users, items, each = -(-rows // 16), 200, 16
    item = np.concatenate([random.permutation(items)[:each] + 1 for _ in range(users)])
    user = np.repeat(np.arange(1, users + 1), each)
    words = TITLE_WORDS.split()
    titles = [" ".join(random.choice(words, random.integers(1, 10))).title() for _ in range(items)]
    label = random.random(len(user)) < 0.8
    interactions = pl.DataFrame(
        {
            "user_id": [f"u{number}" for number in user],
            "item_id": [f"i{number}" for number in item],
            "user": user,
            "item": item,
            "rating": np.where(label, 5.0, 1.0).astype(np.float32),
            "label": label.astype(np.int8),
            "timestamp": np.arange(len(user)),
            "split": ["test"] * len(user),
        }
    )
    numbers = list(range(1, items + 1))
    table = pl.DataFrame({"item_id": [f"i{number}" for number in numbers], "item": numbers, "title": titles})
    manifest = {"key": "made up", "name": "made up", "split": {"split": "made up"}}
    return PreparedData(Path("nowhere"), manifest, interactions, table)


def asked(text: Any, collaborative: Any = None) -> dict[str, Any]:
    """Return the tasks of a run with these prompts: click-through only."""
    from recsys_lora.prompts.template import Template
    from recsys_lora.tasks.ctr import ClickThrough
    from recsys_lora.tasks.scale import RatingScale

    marked = [f"<user> <item> {wording}" for wording in (text.text, text.no_history)]
    soft = collaborative or Template(*marked, soft_tokens=("user", "item"))
    return {"ctr": ClickThrough(text=text, collaborative=soft, scale=RatingScale(1.0, 5.0, 1.0))}


class Scoring:
    """The three ways to score the same rows.

    Args:
        options: the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        import numpy as np

        from recsys_lora.methods.answering import Answering
        from recsys_lora.methods.zero_shot import ZeroShot
        from recsys_lora.prompts.template import Template
        from recsys_lora.tasks.ctr import of_rows

        data = make_data(options.rows)
        question, liked, nothing = QUESTION
        template = Template(liked + question, nothing + question, item='"{title}"', history_items=10)
        self.options = options
        self.backbone = _models.load(options, data.titles[1:])
        self.module = ZeroShot(name="zero_shot", tasks=asked(template), backbone=self.backbone).eval()
        self.datamodule = self.module.datamodule(data, WORDS, seed=0, token_budget=options.token_budget)
        self.answering = Answering(self.module, self.datamodule)
        self.prompts = self.datamodule.prompts["ctr"]
        rows = data.rows("test")
        # Rows as in a split: not sorted by length.
        self.questions = of_rows(rows.take(np.random.default_rng(1).permutation(len(rows))[: options.rows]))
        examples = self.prompts.examples(self.questions, template, [{}] * options.rows)
        self.texts = [template.render(example, WORDS) for example in examples]
        self.tokenizer = self.backbone.tokenizer
        self.tokenizer.padding_side = "left"  # as `generate` and the last column require

    def ours(self) -> Any:
        """Return the scores (n,) of all rows, by this package."""
        return self.answering("ctr", self.questions, show=False)

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokenise; tokens that both answers begin with are appended to the prompt, so that the next one decides."""
        ids = self.tokenizer(list(texts))["input_ids"]
        return [[*each, *self.prompts.encoder.suffix] for each in ids]

    def _difference(self, logits: Any) -> Any:
        """Return "Yes" minus "No" (n,) of logits (n, V)."""
        yes, no = self.module.answers.choices[0].token_ids
        return (logits[:, yes].float() - logits[:, no].float()).cpu()

    def full(self) -> Any:
        """Return the scores (n,) of all rows, from all logits."""
        import torch

        ids, size = self._ids(self.texts), self.options.batch
        scores = []
        with torch.inference_mode():
            for begin in range(0, len(ids), size):
                batch = self.tokenizer.pad({"input_ids": ids[begin : begin + size]}, return_tensors="pt")
                batch = batch.to(self.options.device)
                logits = self.backbone.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
                scores.append(self._difference(logits[:, -1]))
        return torch.cat(scores)

    def generated(self) -> Any:
        """Return the scores (generated,) of the first rows, by generation."""
        import torch

        return torch.cat(list(self._generated(self._ids(self.texts[: self.options.generated]))))

    def _generated(self, prompts: Sequence[Sequence[int]]) -> Iterable[Any]:
        import torch

        how = {"max_new_tokens": 1, "do_sample": False, "return_dict_in_generate": True, "output_logits": True}
        for ids in prompts:
            tokens = torch.tensor([ids], device=self.options.device)
            made = self.backbone.model.generate(tokens, attention_mask=torch.ones_like(tokens), **how)
            yield self._difference(made.logits[0])

    def padding(self) -> tuple[float, float]:
        """Return the share of padding among all tokens read, for this package and for the fixed batches."""
        import numpy as np

        loader = self.datamodule.score_loader(self.prompts.set(self.questions))
        masks = [batch.attention_mask.numpy() for batch in loader]
        read = sum(mask.size for mask in masks)
        real = sum(int(mask.sum()) for mask in masks)
        lengths = np.array([len(ids) for ids in self._ids(self.texts)])
        size = self.options.batch
        parts = [lengths[begin : begin + size] for begin in range(0, len(lengths), size)]
        return 1 - real / read, 1 - float(lengths.sum()) / sum(int(part.max()) * len(part) for part in parts)


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Measure and print."""
    options = arguments(argv)
    options.generated = min(options.generated, options.rows)
    _timing.use_threads(options)
    scoring = Scoring(options)
    expected = scoring.ours()
    shapes = _models.about(scoring.backbone, options)
    tolerance = TOLERANCE[shapes["dtype"]]
    size = _models.largest_logit(scoring.backbone, options.device)
    _timing.same(expected, scoring.full(), tolerance, FULL, size)
    _timing.same(expected[: options.generated], scoring.generated(), tolerance, GENERATE, size)

    steps: dict[str, Step] = {OURS: scoring.ours, FULL: scoring.full, GENERATE: scoring.generated}
    times = _timing.in_turn(steps, options)
    rows = _timing.compared(times, OURS, AIMS, scale={GENERATE: options.rows / options.generated})
    rows = _timing.with_peaks(rows, steps, options)
    ours, theirs = scoring.padding()
    notes = {
        OURS: f"{ours:.1%} padding",
        FULL: f"{theirs:.1%} padding",
        GENERATE: f"{options.generated} prompts, scaled",
    }
    rows = [
        replace(row, note=f"{1000 * options.rows / row.median_ms:.1f} prompts/s, {notes[row.case]}") for row in rows
    ]
    shapes |= {"prompts": options.rows, "rows a batch": options.batch, "token budget": options.token_budget}
    _table.report(rows, _table.environment(options, ("torch", "transformers"), **shapes), options)
    return rows


if __name__ == "__main__":
    main()
