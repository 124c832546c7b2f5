"""In-context learning: the frozen language model reads a few solved questions before its own.

The baseline "ICL" of CoLLM's and CoRA's tables; neither has published its prompts, so the wording is ours.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from recsys_lora.data.examples import PromptBuilder
from recsys_lora.data.prepared import PreparedData, Rows
from recsys_lora.methods.llm_module import ANSWERS, LLMRecommender, Shared
from recsys_lora.prompts.template import Template
from recsys_lora.types import NonNegativeInt, PositiveInt

Source = Literal["user", "others"]


class InContext(LLMRecommender):
    """Scores without training, with solved examples in the slot `{examples}` of the prompt.

    Args:
        example: the wording of a solved question, which the answer follows.
        examples: how many are shown at most.
        source: `user` shows the user's own latest training rows (none to a user without), `others` rows of other
            users, drawn for each row anew, as many liked as not.
        draw_seed: decides what is drawn.
        shared: what every recommender is made with.
    """

    trains: ClassVar[bool] = False

    def __init__(
        self,
        *,
        example: Template,
        examples: PositiveInt,
        source: Source,
        draw_seed: NonNegativeInt,
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        self.example, self.examples, self.source, self.draw_seed = example, examples, source, draw_seed
        self._solved: PromptBuilder | None = None

    def prompts(self, data: PreparedData, words: Mapping[str, str]) -> PromptBuilder:
        """Return what makes this method's prompts; see the base class."""
        builder = super().prompts(data, words)
        self._solved = PromptBuilder(data, self.example, builder.encoder)
        return builder

    def more_texts(self, data: PreparedData, rows: Rows) -> Iterator[Mapping[str, str]]:
        """Yield the solved examples of each row, one below the other."""
        train = data.rows("train")
        shown = Own(train, self.examples) if self.source == "user" else Others(train, self.examples, self.draw_seed)
        for index in range(len(rows)):
            yield {"examples": "".join(self._written(train.take(shown(rows, index))))}

    def _written(self, solved: Rows) -> Iterator[str]:
        assert self._solved is not None, "prompts() comes first"
        words = self._solved.encoder.words
        for example, label in zip(self._solved.examples(solved, solved), solved.label.tolist(), strict=True):
            yield f"{self.example.render(example, words)} {ANSWERS[0] if label > 0 else ANSWERS[1]}\n"


class Own:
    """Finds a user's own latest training rows, up to the time of the row asked.

    Args:
        train: all training rows.
        count: how many at most.
    """

    def __init__(self, train: Rows, count: int) -> None:
        self.train, self.count = train, count
        self.order = np.lexsort((train.row, train.timestamp, train.user))
        self.users = train.user[self.order]

    def __call__(self, rows: Rows, index: int) -> NDArray[np.int64]:
        """Return places in `train`, oldest first."""
        begin, end = np.searchsorted(self.users, [rows.user[index], rows.user[index] + 1])
        mine = self.order[begin:end]
        earlier = self.train.timestamp[mine] <= rows.timestamp[index]
        chosen: NDArray[np.int64] = mine[earlier & (self.train.row[mine] != rows.row[index])][-self.count :]
        return chosen


class Others:
    """Draws training rows of other users, as many liked as not (one more of the liked where the number is odd).

    Args:
        train: all training rows.
        count: how many.
        seed: decides the draws, each row's by its own number.
    """

    def __init__(self, train: Rows, count: int, seed: int) -> None:
        self.train, self.seed = train, seed
        liked = train.label > 0
        self.pools = [(np.flatnonzero(liked), (count + 1) // 2), (np.flatnonzero(~liked), count // 2)]

    def __call__(self, rows: Rows, index: int) -> NDArray[np.int64]:
        """Return places in `train`, in a drawn order."""
        random = np.random.default_rng([self.seed, int(rows.row[index])])
        drawn: list[np.int64] = []
        for pool, wanted in self.pools:
            allowed = pool[self.train.user[pool] != rows.user[index]]
            drawn.extend(random.choice(allowed, min(wanted, len(allowed)), replace=False))
        return random.permutation(np.array(drawn, dtype=np.int64))
