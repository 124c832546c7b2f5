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
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

CASES = ("frozen", "low-rank", "generator", "optimiser")
AIMS = {"low-rank": 1.06, "generator": 1.10}
ENCODER_DIM = 64
"""Width of e_u and e_i, as the default encoder's."""


@dataclass
class Result:
    """One line of the table. Times in milliseconds, memory in MiB."""

    case: str
    median_ms: float
    low_ms: float
    high_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    aim: float | None
    peak_mib: float | None = None


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="smollm2_135m", choices=("smollm2_135m", "gemma3_270m", "tiny"))
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16", "float16"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads; left out: all cores")
    parser.add_argument("--batch", type=int, default=8, help="B")
    parser.add_argument("--tokens", type=int, default=144, help="T")
    parser.add_argument("--rank", type=int, default=16, help="R")
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--targets", nargs="+", default=["q_proj", "k_proj", "v_proj", "o_proj"])
    parser.add_argument("--rounds", type=int, default=10, help="timed steps of each case")
    parser.add_argument(
        "--clock", default="wall", choices=("wall", "cpu"), help="cpu: processor time, for busy machines"
    )
    parser.add_argument("--no-memory", action="store_true", help="leave out peak memory (a process a case)")
    parser.add_argument("--json", type=Path, help="write the results there too")
    parser.add_argument("--only", choices=CASES, help=argparse.SUPPRESS)
    return parser.parse_args()


def build(options: argparse.Namespace) -> dict[str, Callable[[], Any]]:
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


def seconds(step: Callable[[], Any], options: argparse.Namespace) -> float:
    """Time one step."""
    import torch

    clock = time.perf_counter if options.clock == "wall" else time.process_time
    if options.device.startswith("cuda"):
        torch.cuda.synchronize()
    start = clock()
    step()
    if options.device.startswith("cuda"):
        torch.cuda.synchronize()
    return clock() - start


def measure(steps: dict[str, Callable[[], Any]], options: argparse.Namespace) -> list[Result]:
    """Time all cases, round by round."""
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {case: [] for case in steps}
    for number in range(options.rounds):
        order = list(steps) if number % 2 == 0 else list(reversed(steps))  # so that no case always follows another
        for case in order:
            times[case].append(1000 * seconds(steps[case], options))
    results = []
    for case, taken in times.items():
        ratios = [a / b for a, b in zip(taken, times["frozen"], strict=True)]
        low, middle, high = statistics.quantiles(taken, n=4)
        ratio_low, ratio, ratio_high = statistics.quantiles(ratios, n=4)
        results.append(Result(case, middle, low, high, ratio, ratio_low, ratio_high, AIMS.get(case)))
    return results


def peak_memory(case: str, options: argparse.Namespace) -> float:
    """Run two steps of one case in a process of its own and return its peak in MiB."""
    own = [argument for argument in sys.argv[1:] if argument != "--no-memory"]
    command = [sys.executable, __file__, *own, "--only", case]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
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


def surroundings(options: argparse.Namespace) -> dict[str, Any]:
    """Say what was measured where."""
    import torch
    import transformers

    from recsys_lora.llm.dtype import resolve_dtype

    on_cuda = options.device.startswith("cuda")
    model = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.processor()
    )
    return {
        "device": torch.cuda.get_device_name(options.device) if on_cuda else model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "dtype": str(resolve_dtype(options.dtype, options.device)).removeprefix("torch."),
        "backbone": options.backbone,
        "B": options.batch,
        "T": options.tokens,
        "R": options.rank,
        "targets": options.targets,
        "dropout": options.dropout,
        "rounds": options.rounds,
        "clock": options.clock,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def show(results: list[Result], about: dict[str, Any]) -> None:
    """Print the table."""
    print(", ".join(f"{key} {' '.join(value) if isinstance(value, list) else value}" for key, value in about.items()))
    print(f"{'case':<10}{'median ms':>11}{'quartiles ms':>19}{'ratio':>8}{'quartiles':>16}{'aim':>7}{'peak MiB':>10}")
    for r in results:
        quartiles, ratios = f"{r.low_ms:.0f} - {r.high_ms:.0f}", f"{r.ratio_low:.3f} - {r.ratio_high:.3f}"
        aim, peak = f"{r.aim:.2f}" if r.aim else "", f"{r.peak_mib:.0f}" if r.peak_mib else ""
        print(f"{r.case:<10}{r.median_ms:>11.1f}{quartiles:>19}{r.ratio:>8.3f}{ratios:>16}{aim:>7}{peak:>10}")


def main() -> None:
    """Measure and print."""
    options = arguments()
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    if options.only:
        run_only(options)
        return
    results = measure(build(options), options)
    if not options.no_memory:
        for result in results:
            result.peak_mib = peak_memory(result.case, options)
    about = surroundings(options)
    show(results, about)
    if options.json:
        options.json.write_text(json.dumps({"about": about, "results": [asdict(r) for r in results]}, indent=2) + "\n")


if __name__ == "__main__":
    main()
