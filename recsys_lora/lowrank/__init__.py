"""One low-rank layer, `y = W0 x + scale · P (A^T dropout(x))`, with four sources of its factors."""

from recsys_lora.lowrank.inject import Injection, Site, inject
from recsys_lora.lowrank.layer import LowRankLinear
from recsys_lora.lowrank.shift import BottleneckShift
from recsys_lora.lowrank.source import Generated, Routed, Shifted, Source, Static
from recsys_lora.lowrank.state import BatchState, StateSlot

__all__ = [
    "BatchState",
    "BottleneckShift",
    "Generated",
    "Injection",
    "LowRankLinear",
    "Routed",
    "Shifted",
    "Site",
    "Source",
    "StateSlot",
    "Static",
    "inject",
]
