"""Scoring twenty candidates for one user: their common prefix read once, against reading every prompt in full.

    python benchmarks/candidates.py                                 # a random 30M Llama, no download
    python benchmarks/candidates.py --llm smollm2_135m --threads 2 --rounds 3 --json candidates.json

Compared in turn, in one process, on the same user and items, with a history of ten titles and including tokenisation:

    this package   `recsys_lora.methods.candidates.score_candidates`: instruction, history and the user's soft token
                   once, then each candidate's title and the question, on the same key-value cache
    in full        the same with `share_prefix=False`: a padded batch of whole prompts

It first checks that both give the same scores. Each method is measured separately. CoRA's prompts share a prefix only
with scope=suffix, where its weights, which depend on the item, apply from the candidate's title on. The ratio is a
case's time over this package's, in the same round. The note gives the number of tokens that went through the body,
including padding: their ratio is the possible gain from sharing if a token costs the same both ways.
"""

import argparse
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import _models
import _table
import _timing
import scoring
from _table import Aim, Row
from _timing import OURS, Step

FULL = "in full"
AIMS = {FULL: Aim(4)}
TOLERANCE = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 0.02}
"""Relative to the largest logit."""
DIM, HISTORY, USER = 64, 10, 1
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
START = "#Question: A user has given high ratings to the following {items}: {history}. "
FEATURE = "Additionally, we have information about the user's preferences encoded in the feature {user}. "
ASKED = (
    "Using all available information, make a prediction about whether the user would enjoy the {item} titled "
    '"{title}" with the feature {feature}? Answer with "Yes" or "No". \n#Answer:'
)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = _timing.parser(__doc__, rounds=5)
    _models.add_backbone(parser)
    parser.add_argument("--candidates", type=int, default=20)
    parser.add_argument("--methods", nargs="+", default=list(COMPARED), choices=list(METHODS))
    parser.add_argument("--token-budget", type=int, default=4096, help="padded tokens of a batch")
    return parser.parse_args(argv)


def template(user: str = "", item: str = "", names: Sequence[str] = ()) -> Any:
    """Return the prompt with the placeholders of user and item; without them, the text-only prompt."""
    from recsys_lora.prompts.template import Template

    if not user:
        question, liked, nothing = scoring.QUESTION
        return Template(liked + question, nothing + question, history_items=HISTORY)
    rest = FEATURE.replace("{user}", user) + ASKED.replace("{feature}", item)
    return Template(START + rest, "#Question: " + rest, history_items=HISTORY, soft_tokens=names)


def shared(name: str, backbone: Any, **knobs: Any) -> dict[str, Any]:
    """Return the arguments common to all methods; the question is the method's own wording of click-through."""
    return {"name": name, "tasks": scoring.asked(template()), "prompt": template(), "backbone": backbone, **knobs}


def lora() -> dict[str, Any]:
    """Return the arguments of LoRA of rank 8 on the linear layers of the attention."""
    from recsys_lora.methods.lora import LoRA

    return dict(vars(LoRA(targets=TARGETS, dropout=0.0)))


def zero_shot(backbone: Any, data: Any) -> Any:
    """Return the frozen model."""
    from recsys_lora.methods.zero_shot import ZeroShot

    return ZeroShot(**shared("zero_shot", backbone))


def tallrec(backbone: Any, data: Any) -> Any:
    """Return TALLRec."""
    from recsys_lora.methods.tallrec import TALLRec

    return TALLRec(**shared("tallrec", backbone, **lora()))


def collm(backbone: Any, data: Any) -> Any:
    """Return CoLLM."""
    from recsys_lora.methods.collm import CoLLM

    knobs = {"factor": 10, "input_scale": "none", "output_scale": "tokens", "tune_encoder": False}
    knobs |= {"encoder_start": "fitted", "tune_lora": False, **lora()}
    knobs |= {"encoder": _models.vectors(data.num_users, data.num_items, DIM)}
    return CoLLM(**shared("collm", backbone, prompt=template("<user>", "<item>", ("user", "item")), **knobs))


def binllm(backbone: Any, data: Any) -> Any:
    """Return BinLLM with codes of 32 bits."""
    import torch
    from torch import nn

    from recsys_lora.methods.binllm import BinLLM

    encoder = _models.vectors(data.num_users, data.num_items, 32)
    encoder.users = torch.where(encoder.users > 0, 1.0, -1.0)
    encoder.items = torch.where(encoder.items > 0, 1.0, -1.0)
    encoder.anchor = nn.Parameter(torch.zeros(1))
    prompt = template("{user_code}", "{item_code}")
    return BinLLM(**shared("binllm", backbone, prompt=prompt, code="dot_decimal", **lora(), encoder=encoder))


def cora_suffix(backbone: Any, data: Any) -> Any:
    """Return CoRA of rank 16 with scope=suffix."""
    return cora(backbone, data, "suffix")


def cora(backbone: Any, data: Any, scope: str = "all") -> Any:
    """Return CoRA of rank 16."""
    from recsys_lora.methods.cora.generator import WeightGenerator
    from recsys_lora.methods.cora.module import CoRAModule

    knobs: dict[str, Any] = {"generator": WeightGenerator, "rank": 16, "alpha": 32.0, "targets": TARGETS}
    knobs |= {"sharing": "all", "scope": scope, "dropout": 0.0, "dropout_per": "sample", "input_scale": "none"}
    encoder = _models.vectors(data.num_users, data.num_items, DIM)
    return CoRAModule(**shared("cora" if scope == "all" else "cora_suffix", backbone, encoder=encoder, **knobs))


def ckf(backbone: Any, data: Any) -> Any:
    """Return CKF."""
    encoder = _models.vectors(data.num_users, data.num_items, DIM)
    tasks = scoring.asked(template(), template("<user>", "<item>", ("user", "item")))
    return _models.ckf(backbone, encoder, tasks=tasks, history_length=HISTORY, rank=8, alpha=16.0)


METHODS: dict[str, Callable[[Any, Any], Any]] = {
    "zero_shot": zero_shot,
    "tallrec": tallrec,
    "collm": collm,
    "binllm": binllm,
    "ckf": ckf,
    "cora_suffix": cora_suffix,
    "cora": cora,
}


COMPARED = [name for name in METHODS if name != "cora"]  # whose weights all apply from the first token on


def steps(name: str, backbone: Any, data: Any, options: argparse.Namespace) -> tuple[Any, dict[str, Step]]:
    """Return a method with nonzero low-rank factors, and both ways to score with it."""
    import torch

    from recsys_lora.methods.candidates import score_candidates

    torch.manual_seed(0)
    module = METHODS[name](backbone, data)
    for parameter in module.lowrank.parameters() if module.lowrank is not None else ():
        torch.nn.init.normal_(parameter, std=0.02)
    module.to(options.device).eval()
    datamodule = module.datamodule(data, scoring.WORDS, seed=0, token_budget=options.token_budget)
    items = list(range(1, options.candidates + 1))
    score = functools.partial(score_candidates, module, datamodule, USER, items)
    return module, {OURS: score, FULL: functools.partial(score, share_prefix=False)}


def said(row: Row, read: Mapping[str, int], options: argparse.Namespace) -> str:
    """Return a line's note: the speed, and the number of tokens that went through the body."""
    times = "" if row.case == row.reference else f", {read[row.case] / read[row.reference]:.2f} times as many"
    return f"{1000 * options.candidates / row.median_ms:.0f} items/s, {read[row.case]} tokens{times}"


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Measure and print."""
    options = arguments(argv)
    _timing.use_threads(options)
    data = scoring.make_data(16)
    backbone = _models.load(options, data.titles[1:])
    shapes, size = _models.about(backbone, options), _models.largest_logit(backbone, options.device)
    rows: list[Row] = []
    for name in options.methods:
        module, both = steps(name, backbone, data, options)
        _timing.same(both[OURS](), both[FULL](), TOLERANCE[shapes["dtype"]], name, size)
        found = _timing.compared(_timing.in_turn(both, options), OURS, AIMS, point=name)
        found = _timing.with_peaks(found, both, options)
        read = {case: _models.tokens_read(backbone, step) for case, step in both.items()}
        rows += [replace(row, note=said(row, read, options)) for row in found]
        module.release()
    known = int(data.history.offsets[USER + 1] - data.history.offsets[USER])
    shapes |= {"candidates": options.candidates, "history": min(known, HISTORY), "token budget": options.token_budget}
    _table.report(rows, _table.environment(options, ("torch", "transformers"), **shapes), options)
    return rows


if __name__ == "__main__":
    main()
