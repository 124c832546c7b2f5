import pytest

from recsys_lora.prompts.slots import SOFT
from recsys_lora.prompts.template import Example, Template
from recsys_lora.utils.errors import UserError

WORDS = {"item": "movie", "items": "movies"}
TEXT = 'The {items}: {history}. The {item} "{title}"? \n#Answer:'
NONE = 'No {items}. The {item} "{title}"? \n#Answer:'


def example(*history: str, title: str = "Heat (1995)") -> Example:
    return Example([{"title": name} for name in history], {"title": title})


def test_slots_are_filled_oldest_first():
    rendered = Template(TEXT, NONE).render(example("Alien (1979)", "Piano, The (1993)"), WORDS)
    assert rendered == ('The movies: "Alien (1979)", "Piano, The (1993)". The movie "Heat (1995)"? \n#Answer:')


def test_only_the_latest_items_are_shown():
    template = Template(TEXT, NONE, history_items=2)
    assert '"b", "c"' in template.render(example("a", "b", "c"), WORDS)
    assert '"c".' in template.render(example("a", "b", "c"), WORDS, items=1)


def test_a_user_without_history_gets_wording_of_its_own():
    assert Template(TEXT, NONE).render(example(), WORDS) == 'No movies. The movie "Heat (1995)"? \n#Answer:'


def test_the_authors_line_break_is_two_characters():
    rendered = Template(TEXT, NONE, line_break="backslash_n").render(example("a"), WORDS)
    assert rendered.endswith("? \\n#Answer:")
    assert "\n" not in rendered


def test_braces_and_angles_in_titles_mean_nothing():
    template = Template(TEXT, NONE, soft_tokens=["user"])
    assert '"{history} <user>"' in template.render(example("a", title="{history} <user>"), WORDS)


def test_soft_tokens_are_placed_in_their_order():
    template = Template(
        "I <user> like {history}. <item> {title}", "<user> <item> {title}", soft_tokens=["item", "user"]
    )
    assert template.soft_names == ["user", "item"]
    assert template.render(example("a"), WORDS) == f'I {SOFT} like "a". {SOFT} Heat (1995)'


def test_an_item_of_the_history_may_have_further_slots():
    template = Template("{history} {title}", "{title}", item="{title} ({rating})")
    rated = Example([{"title": "a", "rating": "5"}], {"title": "b"})
    assert template.render(rated, WORDS) == "a (5) b"


@pytest.mark.parametrize(
    ("text", "none", "soft", "reason"),
    [
        (TEXT, TEXT, [], "no_history.*leave it out"),
        (TEXT + "<user>", NONE, ["user"], "soft tokens"),
        ("{title", NONE, [], "brace"),
    ],
)
def test_impossible_templates_are_refused(text, none, soft, reason):
    with pytest.raises(UserError, match=reason):
        Template(text, none, soft_tokens=soft).render(example("a"), WORDS)


def test_an_unknown_slot_is_named_with_those_that_exist():
    with pytest.raises(UserError, match=r"\{genre\}: use .*title"):
        Template("{genre} {history}", NONE).render(example("a"), WORDS)


def test_the_ending_is_what_follows_the_last_slot():
    assert Template(TEXT, NONE).endings[0] == '"? \n#Answer:'
    assert Template("{title} <user>, so:", "{title} <user>, so:", soft_tokens=["user"]).endings == (", so:", ", so:")


def test_candidates_are_listed_each_with_its_soft_token():
    template = Template(
        "<user> {history}: {candidates}?",
        "<user> {candidates}?",
        item="{title}",
        candidate="{letter}) {title} <item>",
        soft_tokens=["item", "user"],
    )
    listed = [{"title": "a <item>", "letter": "A"}, {"title": "{b}", "letter": "B"}]
    case = Example([{"title": "h"}], {"title": "a"}, listed)
    assert template.soft_names == ["user", "item"]
    assert template.render(case, WORDS) == f"{SOFT} h: A) a <item> {SOFT}; B) {{b}} {SOFT}?"
    assert template.render(case, WORDS, 0) == f"{SOFT} A) a <item> {SOFT}; B) {{b}} {SOFT}?"


@pytest.mark.parametrize(
    ("text", "none", "candidate"),
    [("{candidates}", "{candidates}", None), ("{title}", "{title}", "{title}"), ("{candidates}", "a", "{title}")],
)
def test_a_list_of_candidates_needs_its_slot_and_its_wording(text, none, candidate):
    with pytest.raises(UserError, match="candidate says how an entry"):
        Template(text, none, candidate=candidate)


def test_there_is_an_ending_with_and_without_history():
    template = Template("{history} <user>, A:", "None <user> {title}: A:", soft_tokens=["user"])
    assert template.endings == (", A:", ": A:")
    assert Template("{history}{title}", "x").endings == ("", "x")


def test_a_word_may_stand_for_an_empty_history():
    text = "Liked {history}; {title}?"
    template = Template(text, "{title}!", item="{title}", empty_history="unkow")
    assert template.render(Example((), {"title": "A"}), {}) == "Liked unkow; A?"
    assert template.render(Example(({"title": "B"},), {"title": "A"}), {}) == "Liked B; A?"
    assert template.changed(empty_history=None).render(Example((), {"title": "A"}), {}) == "A!"


def test_a_word_for_an_empty_history_needs_its_slot():
    with pytest.raises(UserError, match="empty_history stands in the slot"):
        Template("{title}?", "{title}!", empty_history="none")


def test_soft_tokens_in_their_order_say_whose_they_are():
    wording = "<user>: {candidates} or <item>?"
    template = Template(wording, wording, soft_tokens=["user", "item"], candidate="{title} <item>")
    assert template.soft_sequence(3) == [("user", 0), ("item", 0), ("item", 1), ("item", 2), ("item", 0)]
    rendered = template.render(Example((), {}, [{"title": name} for name in "abc"]), {})
    assert rendered.count(SOFT) == len(template.soft_sequence(3))
    single = Template("<item> {title} <user>", "<item> {title} <user>", soft_tokens=["user", "item"])
    assert single.soft_sequence(1) == [("item", 0), ("user", 0)]


def test_remarked_puts_slots_or_other_tokens_in_the_places_of_soft_ones():
    wording = "<user>: {candidates}?"
    template = Template(wording, wording, soft_tokens=["user", "item"], candidate="{title} <item>")
    coded = template.remarked({"user": "{code}", "item": "{number}"})
    assert coded.soft_names == []
    listed = [{"title": name, "number": str(number)} for number, name in enumerate("ab")]
    assert coded.render(Example((), {"code": "u7"}, listed), {}) == "u7: a 0; b 1?"
    other = template.remarked({"user": "<a><b>", "item": "<c>"}, soft_tokens=["a", "b", "c"])
    assert other.soft_sequence(2) == [("a", 0), ("b", 0), ("c", 0), ("c", 1)]
    assert template.soft_sequence(2) == [("user", 0), ("item", 0), ("item", 1)]  # itself unchanged
