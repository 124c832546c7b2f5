"""What CoRA costs beside the frozen backbone: time and memory of one training step.

    python benchmarks/cora_step.py                      # SmolLM2-135M, 8 prompts of 144 tokens, all cores
    python benchmarks/cora_step.py --threads 2 --dtype bfloat16 --json cora_step.json

Compared in turn, in one process, on the same tokens:

    frozen      the body alone: forward to the last hidden state, and backward to the input embeddings
    low-rank    the same body with the low-rank part, its A(u, i) given, backward to every A and P
    generator   the same, A(u, i) made by CoRA's default generator, backward to the generator's weights and P
    optimiser   the same and a step of AdamW

A ratio is the median over rounds of a case's time over that of the frozen body in the same round, so that a slow
moment of the machine falls on both. The head is left out of all. First it is checked that with P = 0 all give the
frozen body's hidden states. Peak memory is each case's own process's (on CUDA, that of its tensors).
"""

import argparse
import copy
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import _table
import _timing
from _table import Aim, Row
from _timing import Step

FROZEN = "frozen"
CASES = (FROZEN, "low-rank", "generator", "optimiser")
AIMS = {"low-rank": Aim(1.06, "at most"), "generator": Aim(1.10, "at most")}
ENCODER_DIM = 64
"""Width of e_u and e_i, as the default encoder's."""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = _timing.parser(__doc__, rounds=5)
    parser.add_argument("--backbone", default="smollm2_135m", choices=("smollm2_135m", "gemma3_270m", "tiny"))
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16", "float16"))
    parser.add_argument("--batch", type=int, default=8, help="B")
    parser.add_argument("--tokens", type=int, default=144, help="T")
    parser.add_argument("--rank", type=int, default=16, help="R")
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--targets", nargs="+", default=["q_proj", "k_proj", "v_proj", "o_proj"])
    parser.add_argument("--only", choices=CASES, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def build(options: argparse.Namespace) -> dict[str, Step]:
    """Return a function a case that runs one step and gives the last hidden state."""
    import torch
    from torch import nn

    from recsys_lora.llm.fetched import FetchedSource
    from recsys_lora.llm.tiny import TinySource
    from recsys_lora.lowrank import Generated, inject
    from recsys_lora.methods.cora.generator import WeightGenerator

    if options.backbone == "tiny":
        backbone = TinySource(dtype=options.dtype).load([], options.device)
    else:
        backbone = FetchedSource(options.backbone, dtype=options.dtype).load([], options.device)
    plain = backbone.model.base_model
    # A second model of the same weights, for the layers: the frozen one stays what it was.
    adapted = copy.deepcopy(backbone.model, {id(p): p for p in backbone.model.parameters()})
    injection = inject(
        adapted,
        options.targets,
        lambda s: [
            Generated(
                str(s.in_features), s.in_features, s.out_features, options.rank, 2.0 * options.rank, options.dropout
            )
        ],
    )
    torch.manual_seed(0)
    B, T, device = options.batch, options.tokens, options.device
    widths = {key: shape.in_features for key, shape in injection.state.shapes.items()}
    size = sum(parameter.numel() for parameter in backbone.parameters())
    generator = WeightGenerator(ENCODER_DIM, ENCODER_DIM, widths, options.rank, backbone_parameters=size).to(device)
    given = {
        key: torch.randn(B, width, options.rank, device=device).div(width**0.5).requires_grad_()
        for key, width in widths.items()
    }
    user, item = torch.randn(2, B, ENCODER_DIM, device=device)
    ids = torch.randint(0, adapted.get_input_embeddings().weight.shape[0], (B, T), device=device)
    embeds = backbone.embed(ids)  # (B, T, H)
    target = torch.randn_like(embeds)
    trained: list[nn.Parameter] = [*injection.parameters(), *generator.parameters()]
    adam = torch.optim.AdamW(trained, lr=1e-4)

    def frozen() -> Any:
        start = embeds.detach().requires_grad_()
        hidden = plain(inputs_embeds=start, use_cache=False).last_hidden_state
        (hidden * target).sum().backward()
        return hidden.detach()

    def with_factors(factors: dict[str, Any], step: bool = False) -> Any:
        injection.state.set(factors)
        hidden = adapted.base_model(inputs_embeds=embeds, use_cache=False).last_hidden_state
        (hidden * target).sum().backward()
        if step:
            adam.step()
        for tensor in (*trained, *given.values()):
            tensor.grad = None
        return hidden.detach()

    if not options.only:  # whose memory must be that of its case alone
        check_equal(frozen(), with_factors(given))
    for parameter in injection.parameters():
        nn.init.normal_(parameter, std=0.01)
    return {
        "frozen": frozen,
        "low-rank": lambda: with_factors(given),
        "generator": lambda: with_factors(generator(user, item)),
        "optimiser": lambda: with_factors(generator(user, item), step=True),
    }


def check_equal(frozen: Any, adapted: Any) -> None:
    """End the run if the low-rank model with P = 0 is another function than the frozen one."""
    if not bool((frozen == adapted).all()):
        sys.exit("with P = 0 the low-rank model gives other hidden states than the frozen one: nothing to compare")


def peak_memory(case: str, argv: Sequence[str]) -> float:
    """Run two steps of one case in a process of its own and return its peak in MiB."""
    command = [sys.executable, __file__, *argv, "--only", case]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(answer.stdout.split()[-1])


def run_only(options: argparse.Namespace) -> None:
    """Run two steps of one case and print the peak in MiB."""
    import torch

    step = build(options)[options.only]
    on_cuda = options.device.startswith("cuda")
    if on_cuda:
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    step()
    step()
    if on_cuda:
        print(torch.cuda.max_memory_allocated() / 2**20)
    else:
        peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        print(int(peak.split()[1]) / 1024)


def shapes(options: argparse.Namespace) -> dict[str, Any]:
    """Say what was measured."""
    from recsys_lora.llm.dtype import resolve_dtype

    return {
        "dtype": str(resolve_dtype(options.dtype, options.device)).removeprefix("torch."),
        "backbone": options.backbone,
        "B": options.batch,
        "T": options.tokens,
        "R": options.rank,
        "targets": options.targets,
        "dropout": options.dropout,
    }


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Measure and print."""
    argv = sys.argv[1:] if argv is None else list(argv)
    options = arguments(argv)
    _timing.use_threads(options)
    if options.only:
        run_only(options)
        return []
    rows = _timing.compared(_timing.in_turn(build(options), options), FROZEN, AIMS)
    if not options.no_memory:
        rows = [replace(row, peak_mib=peak_memory(row.case, argv)) for row in rows]
    _table.report(rows, _table.environment(options, ("torch", "transformers"), **shapes(options)), options)
    return rows


if __name__ == "__main__":
    main()
