"""What Prompt4NR promises, on a tiny backbone."""

import pytest
from hydra.utils import instantiate

from recsys_lora.prompts.template import SOFT, Example
from recsys_lora.utils.errors import UserError
from tests.jobs import resolved
from tests.methods import factory
from tests.methods.asking import batch_of, gradients, with_updates
from tests.methods.synthetic import prepared


@pytest.fixture(scope="module")
def data():
    return prepared(users=20, items=20, rows_each=12, dim=4, titles=[f"Film {n}" for n in range(20)])[0]


def test_each_of_the_six_vectors_gets_a_gradient(data):
    module = with_updates(factory.prompt4nr(data)).train()
    assert bool((gradients(module, batch_of(module, data))["vectors"].abs().sum(1) > 0).all())


def test_another_soft_token_is_refused(data):
    with pytest.raises(UserError, match="<user>: choose from <u1>"):
        factory.prompt4nr(data, prompt=factory.soft_template())


def test_the_wording_has_three_vectors_before_the_history_and_three_before_the_title():
    template = instantiate(resolved("model=prompt4nr")["model"]["prompt"])
    assert template.soft_names == ["u1", "u2", "u3", "i1", "i2", "i3"]
    words, title = {"item": "book", "items": "books"}, {"title": "Emma"}
    with_history = template.render(Example([{"title": "Walden"}], title), words)
    question = "Using all available information, make a prediction about whether the user would enjoy the book?"
    three = ".".join(SOFT * 3)
    ending = f'[SEP] {three} "Emma" [SEP] {question} Answer with "Yes" or "No". \n#Answer:'
    assert with_history == f'#Question: {three} "Walden" {ending}'
    assert template.render(Example([], title), words) == f"#Question: {three} no book yet {ending}"
