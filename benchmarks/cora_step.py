"""Cost of CoRA relative to the frozen backbone as run by transformers: time and memory of one training step.

    python benchmarks/cora_step.py                      # SmolLM2-135M, 8 prompts of 144 tokens, all cores
    python benchmarks/cora_step.py --threads 2 --dtype bfloat16 --compiled --json cora_step.json

Compared in turn, in one process, on the same tokens:

    products    only the matrix products of the frozen weights, forward and backward to the input
    frozen      the body alone, with torch's attention kernel: forward to the last hidden state, and backward to the
                input embeddings
    frozen, attention=auto    the same with the attention that `llm.attention=auto` chooses
    low-rank    the body as in a run, with the low-rank part and given A(u, i), backward to every A and P
    generator   the same, A(u, i) made by CoRA's default generator, backward to the generator's weights and P
    optimiser   the same, plus a step of AdamW
    compiled    the same as `optimiser`, with compiled blocks (`--compiled`)
    graphs      the same as `compiled`, replayed as CUDA graphs (`--graphs`, on a GPU)

A ratio is the median over rounds of a case's time over that of the frozen body in the same round, so that a slow
moment of the machine affects both. The head is left out of all. It first checks that with P = 0 all give the frozen
body's hidden states. Peak memory is that of a separate process per case (on CUDA, of its tensors). The note gives the
rate of the frozen weights' products (forward, and backward to the input), and its ratio to the rate of the widest of
them, repeated on the same numbers.
"""

import argparse
import copy
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import _models
import _resident
import _table
import _timing
from _table import Aim, Row
from _timing import Step

from recsys_lora.llm.source import Attention

if TYPE_CHECKING:
    from recsys_lora.llm.backbone import Backbone

PRODUCTS, FROZEN, OWN = "products", "frozen", "frozen, attention=auto"
COMPILED, GRAPHS = "compiled", "graphs"
CASES = (PRODUCTS, FROZEN, OWN, "low-rank", "generator", "optimiser", COMPILED, GRAPHS)
AIMS = {
    "low-rank": Aim(1.03, "at most"),
    "generator": Aim(1.06, "at most"),
    "optimiser": Aim(1.10, "at most"),
    COMPILED: Aim(0.80, "at most"),
}
ENCODER_DIM = 64
"""Width of e_u and e_i, as in the default encoder."""
REPEATS = 50
"""Number of consecutive products from which the rate is computed."""
ROUNDING = 0.05
"""Maximum relative error, by norm, of the last hidden states of compiled blocks: that of bfloat16 is 0.02."""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = _timing.parser(__doc__, rounds=5)
    _models.add_backbone(parser, "smollm2_135m", dtype="auto")
    parser.add_argument("--batch", type=int, default=8, help="B")
    parser.add_argument("--tokens", type=int, default=144, help="T")
    parser.add_argument("--rank", type=int, default=16, help="R")
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--targets", nargs="+", default=["q_proj", "k_proj", "v_proj", "o_proj"])
    parser.add_argument("--compiled", action="store_true", help="compile too: half a minute more")
    parser.add_argument("--graphs", action="store_true", help="record CUDA graphs of compiled blocks too")
    parser.add_argument("--only", choices=CASES, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def build(options: argparse.Namespace) -> dict[str, Step]:
    """Return one function per case that runs one step and returns the last hidden state."""
    import torch

    from recsys_lora.llm.compiling import compile_blocks

    plain, own = backbone_of(options, "sdpa").model, backbone_of(options, "auto")
    B, T = options.batch, options.tokens
    torch.manual_seed(0)
    ids = torch.randint(0, plain.get_input_embeddings().weight.shape[0], (B, T), device=options.device)
    embeds = own.embed(ids)  # (B, T, H)
    target = torch.randn_like(embeds)

    def frozen(model: Any) -> Any:
        start = embeds.detach().requires_grad_()
        hidden = model.base_model(inputs_embeds=start, use_cache=False).last_hidden_state
        (hidden * target).sum().backward()
        return hidden.detach()

    adapted = Adapted(copied(own.model), options, embeds, target)
    if not options.only:  # otherwise memory must be that of one case alone
        check_equal(frozen(plain), frozen(own.model))
        check_equal(frozen(plain), adapted.step(adapted.given))
    adapted.start()
    steps: dict[str, Step] = {
        PRODUCTS: products_of(plain, B * T),
        FROZEN: lambda: frozen(plain),
        OWN: lambda: frozen(own.model),
        "low-rank": lambda: adapted.step(adapted.given),
        "generator": lambda: adapted.step(adapted.made()),
        "optimiser": lambda: adapted.step(adapted.made(), optimise=True),
    }

    def compiled_step(graphs: bool) -> Step:
        compiled = Adapted(copied(own.model), options, embeds, target)
        compile_blocks(compiled.model, options.device, "reduce-overhead" if graphs else True)
        if not options.only:
            states, wanted = compiled.step(compiled.given).float(), frozen(plain).float()
            _timing.same(states, wanted, ROUNDING, "compiled blocks", whole=True)
        compiled.start()

        def step() -> Any:
            if graphs:
                torch.compiler.cudagraph_mark_step_begin()
            return compiled.step(compiled.made(), optimise=True)

        return step

    if options.compiled:
        steps[COMPILED] = compiled_step(graphs=False)
    if options.graphs:
        steps[GRAPHS] = compiled_step(graphs=True)
    return steps


def products_of(model: Any, tokens: int) -> Step:
    """Return a step that multiplies every frozen weight of the body with inputs and with output gradients."""
    import torch

    from recsys_lora.lowrank.inject import find_sites

    weights = [model.get_submodule(site.name).weight for site in find_sites(model)]
    widths = {width for weight in weights for width in weight.shape}
    rows = {width: torch.randn(tokens, width, device=weights[0].device).to(weights[0]) for width in widths}

    @torch.no_grad()
    def multiply() -> None:
        for weight in weights:
            torch.nn.functional.linear(rows[weight.shape[1]], weight)
        for weight in reversed(weights):
            torch.mm(rows[weight.shape[0]], weight)

    return multiply


def backbone_of(options: argparse.Namespace, attention: Attention) -> "Backbone":
    """Load the backbone with one kind of attention."""
    made: Backbone = _models.load(options, [], attention)
    return made


def copied(model: Any) -> Any:
    """Return another model that shares the weights, for inserting layers."""
    return copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})


class Adapted:
    """A model with CoRA's layers, generator and optimiser.

    Args:
        model: model to insert the layers into.
        options: the command line.
        embeds: the input (B, T, H).
        target: factor of the last hidden state in the loss (B, T, H).
    """

    def __init__(self, model: Any, options: argparse.Namespace, embeds: Any, target: Any) -> None:
        import torch

        from recsys_lora.lowrank import Generated, inject
        from recsys_lora.methods.cora.generator import WeightGenerator

        self.model = model
        self.embeds = embeds
        self.target = target
        R, drop, device = options.rank, options.dropout, options.device
        self.injection = inject(
            model,
            options.targets,
            lambda s: [Generated(str(s.in_features), s.in_features, s.out_features, R, 2.0 * R, drop)],
        )
        torch.manual_seed(0)
        widths = {key: shape.in_features for key, shape in self.injection.state.shapes.items()}
        size = sum(parameter.numel() for parameter in model.parameters())
        self.generator = WeightGenerator(ENCODER_DIM, ENCODER_DIM, widths, R, backbone_parameters=size).to(device)
        self.given = {
            key: torch.randn(len(embeds), width, R, device=device).div(width**0.5).requires_grad_()
            for key, width in widths.items()
        }
        self.user, self.item = torch.randn(2, len(embeds), ENCODER_DIM, device=device)
        self.trained = [*self.injection.parameters(), *self.generator.parameters()]
        self.adam = torch.optim.AdamW(self.trained, lr=1e-4, fused=True)

    def start(self) -> None:
        """Set P to nonzero values, as after the first steps."""
        from torch import nn

        for parameter in self.injection.parameters():
            nn.init.normal_(parameter, std=0.01)

    def made(self) -> Any:
        """Return the weights that the generator makes for the pairs."""
        return self.generator(self.user, self.item)

    def step(self, factors: dict[str, Any], optimise: bool = False) -> Any:
        """Run a forward and a backward; return the last hidden state."""
        self.injection.state.set(factors)
        hidden = self.model.base_model(inputs_embeds=self.embeds, use_cache=False).last_hidden_state
        (hidden * self.target).sum().backward()
        if optimise:
            self.adam.step()
        for tensor in (*self.trained, *self.given.values()):
            tensor.grad = None
        return hidden.detach().clone()  # graphs reuse the memory of their outputs in the next step


def check_equal(frozen: Any, adapted: Any) -> None:
    """Exit if a model computes another function than the frozen one (the low-rank one has P = 0)."""
    if not bool((frozen == adapted).all()):
        sys.exit("two models that should be one function give other hidden states: nothing to compare")


def peak_memory(case: str, argv: Sequence[str]) -> float:
    """Run two steps of one case in its own process and return the peak in MiB."""
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
        _resident.restart_peak()
    step()
    step()
    if on_cuda:
        print(torch.cuda.max_memory_allocated() / 2**20)
    else:
        print(_resident.resident_mib("VmHWM"))


def with_rates(rows: Sequence[Row], options: argparse.Namespace) -> list[Row]:
    """Return the rows, each with the rate of the frozen weights' products and its ratio to a single product's."""
    import torch

    from recsys_lora.lowrank.inject import find_sites

    model = backbone_of(options, "auto").model
    sites, tokens = find_sites(model), options.batch * options.tokens
    work = 2 * 2 * tokens * sum(site.in_features * site.out_features for site in sites)  # forward, and to the input
    wide = max(sites, key=lambda site: site.out_features)
    x = torch.randn(tokens, wide.in_features, device=options.device, dtype=model.dtype)
    w = model.get_submodule(wide.name).weight

    def products() -> None:
        for _ in range(REPEATS):
            torch.nn.functional.linear(x, w)

    with torch.no_grad():
        products()
        best = min(_timing.seconds(products, options) for _ in range(5))
    bare = 2 * tokens * wide.in_features * wide.out_features * REPEATS / best
    rates = [work / (row.median_ms / 1000) for row in rows]
    notes = [f"{rate / 1e9:.0f} GFLOP/s, {rate / bare:.0%} of a product's" for rate in rates]
    return [replace(row, note=note) for row, note in zip(rows, notes, strict=True)]


def shapes(options: argparse.Namespace) -> dict[str, Any]:
    """Describe what was measured."""
    from recsys_lora.llm.dtype import resolve_dtype

    return {
        "dtype": str(resolve_dtype(options.dtype, options.device)).removeprefix("torch."),
        "llm": options.llm,
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
    rows = with_rates(_timing.compared(_timing.in_turn(build(options), options), FROZEN, AIMS), options)
    if not options.no_memory:
        rows = [replace(row, peak_mib=peak_memory(row.case, argv)) for row in rows]
    _table.report(rows, _table.environment(options, ("torch", "transformers"), **shapes(options)), options)
    return rows


if __name__ == "__main__":
    main()
