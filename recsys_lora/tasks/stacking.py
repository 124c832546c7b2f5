"""Two lines of a task's table: stacks of the free baselines and the CF model, without the method and with it."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from recsys_lora.evaluation.stack import Stack
from recsys_lora.tasks.record import Answered
from recsys_lora.tasks.task import Output

Scores = Mapping[str, NDArray[np.float64]]


def stacked(
    others: Sequence[str],
    own: str,
    name: str,
    valid: Mapping[str, Output],
    target: NDArray[np.int64],
    test: Mapping[str, Output],
) -> list[Answered]:
    """Fit both stacks on validation questions and score the test questions.

    Args:
        others: the lines that are stacked without the method.
        own: the method's line.
        name: what the stacks call the method.
        valid: scores of validation questions, (n,) or (n, C), by line.
        target: (n,) which of their answers are right.
        test: scores of the test questions, by line.
    """
    without, included = f"stack without {name}", f"stack with {name}"
    lines = []
    for line, parts, against in ((without, others, None), (included, [*others, own], without)):
        stack = Stack.fit(_scores(valid, parts), target)
        made_of = {"rows": stack.rows, "weights": dict(stack.weights)}
        lines.append(Answered(line, "stack", stack.score(_scores(test, parts)), against=against, made_of=made_of))
    return lines


def _scores(outputs: Mapping[str, Output], names: Sequence[str]) -> Scores:
    return {name: np.asarray(outputs[name], dtype=np.float64) for name in names}
