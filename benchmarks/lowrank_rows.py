"""Training low-rank updates with a separate A for every row: this package's layers against the alternatives.

    python benchmarks/lowrank_rows.py                                   # a small sweep over B, T and R, all cores
    python benchmarks/lowrank_rows.py --batch 64 --tokens 16 --rank 8 --threads 2 --json lowrank_rows.json

Every row b of a batch has its own factor A_b (in, R) in each of a stack of linear layers; P (out, R) is learned and
shared:

    y_b = W0 x_b + s · P A_b^T x_b

Compared in turn, in one process, on the same inputs. A training step is a forward, and a backward to every A_b, every
P and the input:

    this package          `recsys_lora.lowrank`, source `Generated`
    loop over rows        builds W0 + s · P A_b^T for one row after another
    repeated per token    flattens (B, T) as a hook on a linear layer sees it, and repeats A_b for each token
    frozen maps alone     no update at all: a lower bound for all

    this package, forward and peft, forward: no gradient; peft with one adapter per row, chosen by `adapter_names`. Its
    mixed batches exist for inference only. The frozen maps alone once more.

The ratio is a case's time over this package's, in the same round. It first checks that all give the same outputs, and
those that train the same gradients. The stack has only linear layers, each after a norm: in a whole model, the rest,
which is the same for all, adds to the time.
"""

import argparse
import itertools
from collections.abc import Sequence
from typing import Any

import _table
import _timing
from _table import Aim, Row
from _timing import OURS, Step

LOOP, REPEATED = "loop over rows", "repeated per token"
FORWARD, PEFT = "this package, forward", "peft mixed batch, forward"
FROZEN, FROZEN_FORWARD = "frozen maps alone", "frozen maps alone, forward"
AIMS = {LOOP: Aim(10), REPEATED: Aim(3), PEFT: Aim(2)}
SCALE = 2.0
"""s = alpha / R, as in the default config of CoRA."""
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = _timing.parser(__doc__, rounds=5)
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 32], help="B")
    parser.add_argument("--tokens", type=int, nargs="+", default=[16, 128], help="T")
    parser.add_argument("--rank", type=int, nargs="+", default=[8, 16], help="R")
    parser.add_argument("--width", type=int, default=576, help="of all maps, in and out")
    parser.add_argument("--layers", type=int, default=4, help="maps in the stack")
    parser.add_argument("--dtype", default="float32", choices=tuple(TOLERANCE))
    return parser.parse_args(argv)


def make_stack(options: argparse.Namespace) -> Any:
    """Return the frozen linear layers, each after a norm without parameters."""
    import torch
    from torch import Tensor, nn

    class Stack(nn.Module):
        """`blocks` of one linear layer each, so that `inject` and peft find them by name."""

        def __init__(self) -> None:
            super().__init__()
            maps = [nn.Linear(options.width, options.width, bias=False) for _ in range(options.layers)]
            self.blocks = nn.ModuleList(nn.ModuleDict({"proj": each}) for each in maps)

        def forward(self, x: Tensor) -> Tensor:
            for block in self.blocks:
                x = block["proj"](nn.functional.layer_norm(x, x.shape[-1:]))
            return x

    torch.manual_seed(0)
    return Stack().to(device=options.device, dtype=getattr(torch, options.dtype)).eval().requires_grad_(False)


class Cases:
    """The ways to compute one point of the sweep, on the same tensors.

    Args:
        options: the command line.
        batch: B.
        tokens: T.
        rank: R.
    """

    def __init__(self, options: argparse.Namespace, batch: int, tokens: int, rank: int) -> None:
        import torch

        from recsys_lora.lowrank import Generated, inject

        self.options = options
        self.rank = rank
        self.plain = make_stack(options)
        self.adapted = make_stack(options)
        width, dtype, device = options.width, getattr(torch, options.dtype), options.device
        self.injection = inject(self.adapted, ["proj"], lambda s: [Generated(s.name, width, width, rank, SCALE * rank)])
        self.x = torch.randn(batch, tokens, width, device=device, dtype=dtype).requires_grad_()
        self.target = torch.randn(batch, tokens, width, device=device, dtype=dtype)
        self.A = {
            key: torch.randn(batch, width, rank, device=device).div(width**0.5).requires_grad_()
            for key in self.injection.state.shapes
        }
        self.P = [source.P for sources in self.injection.sources.values() for source in sources]
        for P in self.P:
            torch.nn.init.normal_(P, std=rank**-0.5)

    def trained(self, forward: Step) -> Any:
        """Run a step, return its output and gradients, and clear the gradients."""
        leaves = [self.x, *self.A.values(), *self.P]
        y = forward()
        (y * self.target).sum().backward()
        gradients = [leaf.grad for leaf in leaves]
        for leaf in leaves:
            leaf.grad = None
        return [y.detach(), *gradients]

    def ours(self) -> Any:
        """Run this package's layers."""
        self.injection.state.set(self.A)
        return self.adapted(self.x)

    def _through(self, layer: Any) -> Any:
        """Run the plain stack with `layer(W0, A, P, x)` in place of its linear layers."""
        from torch.nn import functional

        x = self.x
        for block, A, P in zip(self.plain.blocks, self.A.values(), self.P, strict=True):
            normed = functional.layer_norm(x, x.shape[-1:])
            x = layer(block["proj"].weight, A.to(x.dtype), P.to(x.dtype), normed)
        return x

    def loop(self) -> Any:
        """Build each row's weights."""
        import torch

        def layer(W0: Any, A: Any, P: Any, x: Any) -> Any:
            return torch.stack([row @ (W0 + SCALE * (P @ own.T)).T for row, own in zip(x, A, strict=True)])

        return self._through(layer)

    def repeated(self) -> Any:
        """Give every token its own copy of A_b."""
        import torch

        def layer(W0: Any, A: Any, P: Any, x: Any) -> Any:
            rows = x.flatten(0, 1)  # (B·T, in)
            own = A.repeat_interleave(x.shape[1], dim=0)  # (B·T, in, R)
            u = torch.bmm(rows[:, None], own)[:, 0]  # (B·T, R)
            return (rows @ W0.T + SCALE * (u @ P.T)).view(*x.shape[:2], -1)

        return self._through(layer)

    def peft(self) -> Step:
        """Return the forward of a peft model that holds each row's factors as an adapter."""
        import torch
        from peft import LoraConfig, get_peft_model

        names = [f"row{number}" for number in range(len(self.x))]
        config = LoraConfig(r=self.rank, lora_alpha=SCALE * self.rank, target_modules=["proj"])
        model: Any = get_peft_model(make_stack(self.options), config, adapter_name=names[0])
        for name in names[1:]:
            model.add_adapter(name, config)
        maps = [block["proj"] for block in model.get_base_model().blocks]
        with torch.no_grad():
            for layer, A, P in zip(maps, self.A.values(), self.P, strict=True):
                for name, own in zip(names, A, strict=True):
                    layer.lora_A[name].weight.copy_(own.T)
                    layer.lora_B[name].weight.copy_(P)
        model.to(device=self.options.device, dtype=self.x.dtype).eval()

        return lambda: model(self.x, adapter_names=names)

    def frozen(self) -> Any:
        """Run the frozen linear layers."""
        return self.plain(self.x)


def without_gradients(step: Step) -> Step:
    """Return a step that stores nothing for a backward."""
    import torch

    return torch.no_grad()(step)


def measure(options: argparse.Namespace, batch: int, tokens: int, rank: int) -> list[Row]:
    """Check and time one point of the sweep."""
    cases = Cases(options, batch, tokens, rank)
    training: dict[str, Step] = {
        OURS: lambda: cases.trained(cases.ours),
        LOOP: lambda: cases.trained(cases.loop),
        REPEATED: lambda: cases.trained(cases.repeated),
        FROZEN: lambda: cases.trained(cases.frozen),
    }
    forward = {FORWARD: cases.ours, PEFT: cases.peft(), FROZEN_FORWARD: cases.frozen}
    forward = {case: without_gradients(step) for case, step in forward.items()}
    point, tolerance = f"B {batch}, T {tokens}, R {rank}", TOLERANCE[options.dtype]
    expected = training[OURS]()
    for case in (LOOP, REPEATED):
        for number, (ours, theirs) in enumerate(zip(expected, training[case](), strict=True)):
            _timing.same(ours, theirs, tolerance, f"{point}: {case}, {'gradient' if number else 'output'} {number}")
    for case in (FORWARD, PEFT):
        _timing.same(expected[0], forward[case](), tolerance, f"{point}: {case}")
    rows = []
    for steps, reference in ((training, OURS), (forward, FORWARD)):
        times = _timing.in_turn(steps, options)
        rows += _timing.with_peaks(_timing.compared(times, reference, AIMS, point=point), steps, options)
    return rows


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Measure and print."""
    options = arguments(argv)
    _timing.use_threads(options)
    rows = [
        row
        for batch, tokens, rank in itertools.product(options.batch, options.tokens, options.rank)
        for row in measure(options, batch, tokens, rank)
    ]
    shapes = {"dtype": options.dtype, "width": options.width, "layers": options.layers}
    _table.report(rows, _table.environment(options, ("torch", "peft"), **shapes), options)
    return rows


if __name__ == "__main__":
    main()
