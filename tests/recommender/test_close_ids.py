"""What may have been meant by an unknown id."""

import pytest

from recsys_lora.recommender.close_ids import close_ids, close_to, hint_for_item, hint_for_user

KNOWN = {"alice", "alina", "Bob", "007", "42", "B00-1", "söd"}


@pytest.mark.parametrize(
    ("raw", "near"),
    [
        ("alise", ["alice"]),
        ("alcie", ["alice"]),
        ("alic", ["alice"]),
        ("alicee", ["alice"]),
        ("ALICE", ["alice"]),
        ("bob", ["Bob"]),
        (" alice ", ["alice"]),
        ("'alice'", ["alice"]),
        ("alixa", ["alina"]),
        ("7", ["007"]),
        ("042", ["42"]),
        ("42.0", ["42"]),
        ("B00_1", ["B00-1"]),
        ("sdö", ["söd"]),
        ("nobody", []),
        ("", []),
    ],
)
def test_one_slip_is_found(raw, near):
    assert close_ids(raw, KNOWN) == near


def test_no_more_than_three_are_named_in_a_fixed_order():
    known = [str(number) for number in range(2000)]
    near = close_ids("2001", {*known})
    assert near == close_ids("2001", dict.fromkeys(reversed(known)))
    assert near == ["201", "200", "1001"]


class Counting:
    """Ids that count how often they are asked about, and cannot be walked through."""

    asked = 0

    def __contains__(self, raw):
        self.asked += 1
        return False


@pytest.mark.parametrize("raw", ["ab", "x" * 64, "x" * 65, "x" * 100_000])
def test_the_cost_is_that_of_the_id_alone(raw):
    known = Counting()
    assert close_to(raw, known) == ""
    assert known.asked <= 2 * 70 * 66


def test_the_other_column_is_recognised(loaded):
    live = loaded("cora")._data
    title = live.items["title"][3]
    assert hint_for_item(live, f" {title.upper()}") == (
        f" ({f' {title.upper()}'!r} is the title of item {live.items['item_id'][3]!r})"
    )
    assert hint_for_user(live, title) == f" ({title!r} is the title of item {live.items['item_id'][3]!r})"
    assert hint_for_item(live, "u17") == " (close to 'u17': 'i17'; 'u17' is a user)"
    assert hint_for_user(live, "i25") == " ('i25' is an item)"
