"""In-context learning: the frozen language model reads a few solved questions before the actual one.

The baseline "ICL" in CoLLM's and CoRA's tables; neither has published its prompts, so the wording is ours.
"""

from collections.abc import Iterator
from typing import ClassVar, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from recsys_lora.methods.base import LLMRecommender
from recsys_lora.methods.shared import Shared
from recsys_lora.prompts.template import Template
from recsys_lora.tasks.examples import ExtraSlots
from recsys_lora.tasks.prompts import TaskPrompts
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.task import CTR
from recsys_lora.utils.types import NonNegativeInt, PositiveInt

Source = Literal["user", "others"]
_EXAMPLES = "{examples}"


class InContext(LLMRecommender):
    """Answers without training, with solved questions of the same task in the slot `{examples}` of the prompt.

    Args:
        example: the template of a solved `ctr` question, followed by its answer. Other tasks use their own template,
            with as many history items as this one.
        examples: maximum number of examples.
        source: `user` shows the user's own latest training questions (none if there are none), `others` those of other
            users, drawn separately for each question; for `ctr`, as many liked as not.
        draw_seed: seed of the draws.
        shared: arguments of all recommenders.
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
        self.example = example
        self.examples = examples
        self.source = source
        self.draw_seed = draw_seed

    def worded(self, template: Template) -> Template:
        """Return a task's template with solved questions before it."""
        texts = {part: _EXAMPLES + template.given[part] for part in ("text", "no_history")}
        return template.changed(**texts)

    def extra_slots(self, prompts: TaskPrompts, questions: Questions) -> Iterator[ExtraSlots]:
        """Yield the solved questions for each question, one below the other."""
        task = prompts.task
        train = task.questions(prompts.data, "train", None, self.draw_seed)
        shown = Own(train, self.examples) if self.source == "user" else Others(train, self.examples, self.draw_seed)
        own = self.prompt is not None and task.name == CTR
        template = self.example if own else task.text.changed(history_items=self.example.history_items)
        for index in range(len(questions)):
            solved = train.take(shown(questions, index))
            yield {"examples": "".join(self._written(prompts, solved, template))}

    @staticmethod
    def _written(prompts: TaskPrompts, solved: Questions, template: Template) -> Iterator[str]:
        examples = prompts.examples(solved, template, [{}] * len(solved))
        for example, answer in zip(examples, prompts.right_answers(solved), strict=True):
            yield f"{template.render(example, prompts.words)} {answer}\n"


class Own:
    """Finds a user's own latest training questions, up to the time of the one asked.

    Args:
        train: all training questions.
        count: maximum number.
    """

    def __init__(self, train: Questions, count: int) -> None:
        self.train = train
        self.count = count
        self.order = np.lexsort((train.row, train.timestamp, train.user))
        self.users = train.user[self.order]

    def __call__(self, questions: Questions, index: int) -> NDArray[np.int64]:
        """Return indices into `train`, oldest first."""
        begin, end = np.searchsorted(self.users, [questions.user[index], questions.user[index] + 1])
        mine = self.order[begin:end]
        earlier = self.train.timestamp[mine] <= questions.timestamp[index]
        chosen: NDArray[np.int64] = mine[earlier & (self.train.row[mine] != questions.row[index])][-self.count :]
        return chosen


class Others:
    """Draws training questions of other users, as many liked as not (one more liked if the number is odd).

    If all labels are above zero, as with ratings, they are drawn uniformly from all questions.

    Args:
        train: all training questions.
        count: how many.
        seed: decides the draws, together with each question's row number.
    """

    def __init__(self, train: Questions, count: int, seed: int) -> None:
        self.train = train
        self.seed = seed
        liked = train.label > 0
        self.pools = [(np.flatnonzero(liked), (count + 1) // 2), (np.flatnonzero(~liked), count // 2)]
        if liked.all():
            self.pools = [(np.arange(len(train)), count)]

    def __call__(self, questions: Questions, index: int) -> NDArray[np.int64]:
        """Return indices into `train`, in random order."""
        random = np.random.default_rng([self.seed, int(questions.row[index])])
        drawn: list[np.int64] = []
        for pool, wanted in self.pools:
            allowed = pool[self.train.user[pool] != questions.user[index]]
            drawn.extend(random.choice(allowed, min(wanted, len(allowed)), replace=False))
        return random.permutation(np.array(drawn, dtype=np.int64))
