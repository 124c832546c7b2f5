"""Callbacks and loggers of training: progress, checkpoints, early stopping, guards, measurements."""

from recsys_lora.callbacks.checkpoint import BestLast
from recsys_lora.callbacks.early_stopping import StopEarly
from recsys_lora.callbacks.ema import EMA
from recsys_lora.callbacks.guard import StopOnNaN
from recsys_lora.callbacks.measure import LearningRateAndGradient, Throughput
from recsys_lora.callbacks.progress import FitProgress
from recsys_lora.callbacks.random_state import RandomState

__all__ = [
    "EMA",
    "BestLast",
    "FitProgress",
    "LearningRateAndGradient",
    "RandomState",
    "StopEarly",
    "StopOnNaN",
    "Throughput",
]
