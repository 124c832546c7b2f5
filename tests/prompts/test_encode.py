import numpy as np
import pytest

from recsys_lora.llm.tiny import train_tokenizer
from recsys_lora.prompts.encode import CUT_TEXT, CUT_TITLE, SHORTENED, Encoder, beginning
from recsys_lora.prompts.encoded import concatenate, flat, with_answers
from recsys_lora.prompts.slots import SOFT
from recsys_lora.prompts.template import Example, Template
from recsys_lora.utils.errors import UserError

WORDS = {"item": "movie", "items": "movies"}
TEMPLATE = Template("The {items}: {history}. The {item} {title}? #Answer:", "No {items}. The {item} {title}? #Answer:")


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["Alien", "Heat", "Piano"] * 3, 600)


def examples(*histories, title="Heat"):
    return [Example([{"title": name} for name in history], {"title": title}) for history in histories]


def encode(tokenizer, cases, template=TEMPLATE, max_tokens=1000, **more):
    return Encoder(tokenizer, WORDS, max_tokens, **more).encode(template, cases)


def test_prompts_are_what_the_tokenizer_gives_for_the_rendered_text(tokenizer):
    cases = examples(["Alien", "Piano"], [], ["Heat"])
    encoded = encode(tokenizer, cases)
    assert len(encoded) == 3
    assert encoded.ids.dtype == np.int32
    for index, case in enumerate(cases):
        assert encoded[index].tolist() == tokenizer(TEMPLATE.render(case, WORDS))["input_ids"]
    assert encoded.lengths.tolist() == [len(encoded[index]) for index in range(3)]


def test_what_all_answers_begin_with_follows_every_prompt(tokenizer):
    suffix = [7, 9]
    plain, longer = encode(tokenizer, examples(["Heat"])), encode(tokenizer, examples(["Heat"]), suffix=suffix)
    assert longer[0].tolist() == plain[0].tolist() + suffix


def test_the_oldest_items_go_first_and_are_counted(tokenizer):
    cases = examples(["Alien", "Piano", "Heat", "Alien"], ["Heat"])
    whole = encode(tokenizer, cases)
    limit = int(whole.lengths[0]) - 1
    encoded = encode(tokenizer, cases, max_tokens=limit)
    shown = TEMPLATE.render(cases[0], WORDS, items=3)
    assert encoded[0].tolist() == tokenizer(shown)["input_ids"]
    assert encoded[1].tolist() == whole[1].tolist()
    assert encoded.counts == {SHORTENED: 1}


def test_then_the_title_is_cut_and_the_question_never(tokenizer):
    [case] = cases = examples(["Alien"], title="Piano " * 50)
    limit = 40
    encoded = encode(tokenizer, cases, max_tokens=limit)
    text = tokenizer.decode(encoded[0].tolist())
    assert len(encoded[0]) <= limit
    assert text.startswith("No movies. The movie Piano")
    assert text.endswith("? #Answer:")
    assert encoded.counts == {SHORTENED: 1, CUT_TITLE: 1}
    assert len(case.texts["title"]) == 300


def test_a_limit_below_the_wording_is_refused(tokenizer):
    with pytest.raises(UserError, match="does not fit into 5 tokens"):
        encode(tokenizer, examples(["Alien"]), max_tokens=5)


def test_the_templates_own_limit_counts_the_suffix(tokenizer):
    template = Template(TEMPLATE.text, TEMPLATE.no_history, max_tokens=30)
    encoded = encode(tokenizer, examples(["Alien"] * 10), template=template, suffix=[1, 2])
    assert encoded.lengths[0] <= 30


def test_soft_tokens_have_positions_and_the_text_around_them_is_whole(tokenizer):
    template = Template(
        "I <user> like {history}. <item> {title}", "<user> <item> {title}", soft_tokens=["user", "item"]
    )
    encoded = encode(tokenizer, examples(["Alien", "Heat"], []), template=template, soft_id=3)
    for index in range(2):
        places = encoded.soft_positions[index]
        assert (encoded[index][places] == 3).all()
        rest = np.delete(encoded[index], places)
        rendered = template.render(examples(["Alien", "Heat"], [])[index], WORDS)
        assert tokenizer.decode(rest.tolist()) == rendered.replace(SOFT, "")


def test_prompts_without_soft_tokens_have_no_positions(tokenizer):
    assert encode(tokenizer, examples(["Alien"])).soft_positions.shape == (1, 0)


def test_a_chat_template_wraps_the_prompt(tokenizer):
    encoded = encode(tokenizer, examples(["Alien"]), wrap=lambda text: f"<s>{text}</s>")
    assert encoded[0][0] == tokenizer.bos_token_id
    assert encoded[0][-1] == tokenizer.eos_token_id


def test_no_examples_give_no_prompts(tokenizer):
    assert len(encode(tokenizer, [])) == 0


CUT = Template("{review} {title} {candidates} A:", "{review} {title} {candidates} A:", candidate="{letter}) {title}")


def long_example(review, title, *candidates):
    entries = [{"title": name, "letter": letter} for name, letter in zip(candidates, "ABC", strict=False)]
    return [Example((), {"review": review, "title": title}, entries)]


def test_of_several_long_texts_the_longest_is_cut_first(tokenizer):
    case = long_example("Heat " * 60, "Alien", "Piano", "Alien")
    encoded = encode(tokenizer, case, template=CUT, max_tokens=60)
    text = tokenizer.decode(encoded[0].tolist())
    assert 50 < len(encoded[0]) <= 60
    assert text.endswith(" Alien A) Piano; B) Alien A:")
    assert encoded.counts == {CUT_TEXT: 1}


def test_equally_long_candidates_are_cut_alike(tokenizer):
    case = long_example("", "Alien", "Heat " * 30, "Heat " * 30, "Piano")
    text = tokenizer.decode(encode(tokenizer, case, template=CUT, max_tokens=60)[0].tolist())
    first, second = text.split("A) ")[1].split(" A:")[0].split("; ")[:2]
    assert first == second.removeprefix("B) ")
    assert first.count("Heat") > 5
    assert text.endswith("; C) Piano A:")


def test_answers_follow_their_prompts_and_soft_tokens_stay(tokenizer):
    template = Template("<user> {history} {title}", "<user> {title}", soft_tokens=["user"])
    plain = encode(tokenizer, examples(["Alien"], []), template=template)
    longer = with_answers(plain, [[4, 5], []])
    assert longer[0].tolist() == [*plain[0].tolist(), 4, 5]
    assert longer[1].tolist() == plain[1].tolist()
    assert np.array_equal(longer.soft_positions, plain.soft_positions)


def test_no_prompts_have_no_answers(tokenizer):
    assert len(with_answers(encode(tokenizer, []), [])) == 0


TITLES = ["Heat", "Alien", "Piano", "...And Justice", "'71", "", "Heat (1995)", " ", "été", "?", "lien"]
CHAT = {"wrap": lambda text: f"<s>user: {text} [/INST]"}
HEADS = {
    "history": (TEMPLATE, {}),
    "chat": (TEMPLATE, CHAT),
    "suffix": (TEMPLATE, {"suffix": [7, 9]}),
    "merged": (Template("{history} (A{title}?", "(A{title}?"), {}),
    "at the end": (Template("{history}: '{title}", "A '{title}"), CHAT),
    "soft": (Template("<u> {history}, <i>{title}? <i>", "<u> <i>{title}? <i>", soft_tokens=["u", "i"]), {}),
    "twice": (Template("{history}: {title}. {title}?", "{title}? {title}"), {}),
    "before the history": (Template("Is {title} like {history}?", "Is {title} good?"), {}),
}


def common(prompts):
    """How many tokens all prompts begin with."""
    columns = zip(*prompts, strict=False)
    alike = [len(set(column)) == 1 for column in columns]
    return alike.index(False) if False in alike else len(alike)


@pytest.mark.parametrize("limit", [1000, 40])  # the latter shortens histories
@pytest.mark.parametrize("head", HEADS)
def test_titles_begin_where_the_prompts_of_all_candidates_part(tokenizer, head, limit):
    template, more = HEADS[head]
    for history in (["Alien", "Piano"] * 3, []):
        cases = [case for title in TITLES for case in examples(history, title=title)]
        encoded = encode(tokenizer, cases, template=template, max_tokens=limit, find_title=True, **more)
        plain = encode(tokenizer, cases, template=template, max_tokens=limit, **more)
        assert np.array_equal(encoded.ids, plain.ids)
        assert np.array_equal(encoded.soft_positions, plain.soft_positions)
        starts = encoded.title_starts
        prompts = [encoded[index].tolist() for index in range(len(cases))]
        assert bool(encoded.counts) == (limit < 1000 and bool(history))
        if not encoded.counts:
            assert starts.min() == common(prompts)
        for prompt, start, case in zip(prompts, starts, cases, strict=True):
            shown, title = tokenizer.decode(prompt[start:]), case.texts["title"].strip()
            assert shown.find(title) in (0, 1)  # one character before it, where a token joins both
            assert start < len(prompt) or not case.texts["title"]


def test_a_title_begins_at_the_token_that_joins_it_with_what_stands_before(tokenizer):
    template = Template("{history} (A{title}?", "(A{title}?")
    alone, joined = (
        encode(tokenizer, examples(["Heat"], title=title), template=template, find_title=True)
        for title in ("Piano", "lien")
    )
    assert tokenizer.decode(alone[0][: alone.title_starts[0]].tolist()) == '"Heat" (A'
    assert tokenizer.decode(joined[0][: joined.title_starts[0]].tolist()) == '"Heat" ('


def test_the_end_of_a_chat_template_is_no_part_of_what_stands_before_a_title(tokenizer):
    template = Template("{history} is", "is {title}")
    [case] = examples([], title=" [/INST] x")
    found = encode(tokenizer, [case], template=template, find_title=True, **CHAT)
    assert tokenizer.decode(found[0][: found.title_starts[0]].tolist(), skip_special_tokens=True).rstrip() == "user: is"


def test_cut_titles_begin_where_they_did(tokenizer):
    cases = examples(["Alien"], title="Piano " * 50)
    found = encode(tokenizer, cases, max_tokens=40, find_title=True)
    assert found.counts == {SHORTENED: 1, CUT_TITLE: 1}
    assert tokenizer.decode(found[0][: found.title_starts[0]].tolist()) == "No movies. The movie "


def test_where_titles_begin_is_kept_with_answers_and_other_prompts(tokenizer):
    one = encode(tokenizer, examples(["Alien"]), find_title=True)
    two = encode(tokenizer, examples([], ["Heat"]), find_title=True)
    assert with_answers(two, [[1], []]).title_starts.tolist() == two.title_starts.tolist()
    assert concatenate([one, two]).title_starts.tolist() == [*one.title_starts, *two.title_starts]
    plain = encode(tokenizer, examples(["Alien"]))
    assert plain.title_starts is None
    assert concatenate([one, plain]).title_starts is None
    assert encode(tokenizer, [], find_title=True).title_starts.shape == (0,)


class BeginsWithBos:
    bos_token_id = 5

    def __call__(self, text, add_special_tokens=True):
        one = [[5, 8] if add_special_tokens else [8]]
        return {"input_ids": one[0] if isinstance(text, str) else one * len(text)}


def test_a_tokenizer_that_begins_texts_with_a_token_begins_prompts_with_it(tokenizer):
    assert beginning(tokenizer) == []
    assert beginning(BeginsWithBos()) == [5]
    assert Encoder(BeginsWithBos(), WORDS, 10).tokenise(["a", f"a{SOFT}a"]) == [[5, 8], [5, 8, -1, 8]]


def test_equal_prompts_are_found_and_chosen_ones_keep_all_that_belongs_to_them():
    parts = [np.array(tokens, dtype=np.int32) for tokens in ([5, -1, 7], [5], [5, -1, 7], [9, 9], [5])]
    prompts = flat(parts, soft_id=3, counts={"cut": 2}, title_starts=[1, 0, 1, 1, 0])
    first, same = prompts.distinct()
    assert (first.tolist(), same.tolist()) == ([0, 1, 3], [0, 1, 0, 2, 1])
    chosen = prompts.take(np.array([3, 2]))
    assert [chosen[place].tolist() for place in range(2)] == [[9, 9], [5, 3, 7]]
    assert (chosen.lengths.tolist(), chosen.soft_positions.tolist()) == ([2, 3], [[-1], [1]])
    assert (chosen.title_starts.tolist(), chosen.counts) == ([1, 1], {"cut": 2})
