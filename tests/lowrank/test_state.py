"""What a batch's state becomes once its prompts are read."""

import torch

from recsys_lora.lowrank.shift import BottleneckShift
from recsys_lora.lowrank.state import BatchState

B, T, IN, R = 3, 5, 4, 2


def state():
    torch.manual_seed(0)
    shift = BottleneckShift(torch.randn(B, 2, R), torch.tensor([[0, 2], [1, 3], [0, -1]]))
    acts_at = torch.arange(T) >= torch.tensor([1, 2, 3]).unsqueeze(1)
    return BatchState({"a": torch.randn(B, IN, R)}, torch.tensor([0, 1, 2]), shift, True, acts_at)


def test_behind_the_prompts_factors_act_everywhere_and_nothing_is_added():
    before = state()
    after = before.after_prompt()
    assert torch.equal(after.generated["a"], before.generated["a"])
    assert torch.equal(after.task, before.task)
    assert (after.acts_at, after.frozen) == (None, True)
    product = torch.randn(B, T, R)
    assert torch.equal(after.confined(product), product)
    assert torch.equal(after.shift.added_to(product), product)
    assert not torch.equal(before.confined(product), product)
    assert not torch.equal(before.shift.added_to(product), product)


def test_each_sample_is_there_as_often_as_it_has_continuations():
    before = state()
    after = before.after_prompt(copies=2)
    for index in range(B):
        for copy in (2 * index, 2 * index + 1):
            assert torch.equal(after.generated["a"][copy], before.generated["a"][index])
            assert after.task[copy] == before.task[index]
    assert len(after.task) == 2 * B
    product = torch.randn(2 * B, 1, R)
    assert torch.equal(after.shift.added_to(product), product)


def test_a_state_of_nothing_stays_so():
    assert BatchState().after_prompt(4) == BatchState()
