"""A hint can be pasted, and following it leads on: never to the same line, never to one that sends back."""

import re
import shlex

import pytest

from recsys_lora.config.edge import read_preparation
from recsys_lora.pipeline.artifacts import ArtifactStore
from recsys_lora.pipeline.preparation import prepare_stage
from recsys_lora.utils.errors import UserError
from tests.jobs import composed

HINT = re.compile(r"'data\.[^']+'|(?<!at )data\.[\w.]+=(?!NAME)[\w%./:-]*[\w%]")
HEADER = "user_id,item_id,rating,timestamp"


def lines(form: str, header: str | None = HEADER) -> str:
    """Write a line a user u and an item i; r is a rating, t a second, d and m are a day and a month."""
    rows = [
        form.format(u=u, i=(3 * u + i) % 20, r=1 + (u * i) % 5, t=1_500_000_000 + i * 90_000, d=13 + i, m=1 + u)
        for u in range(12)
        for i in range(10)
    ]
    return "\n".join([*([header] if header else []), *rows]) + "\n"


@pytest.fixture
def followed(tmp_path):
    """Prepare tables, doing what each refusal says first; returns the overrides that were proposed, and the data."""

    def of(r: str, i: str | None = None, *given: str):
        (tmp_path / "r.csv").write_text(r)
        tables = ["data=table", f"data.root={tmp_path}", "data.interactions=r.csv"]
        if i is not None:
            (tmp_path / "i.csv").write_text(i)
            tables.append("data.items=i.csv")
        proposed: list[str] = []
        while True:
            config = read_preparation(composed(*tables, *given, *proposed, config="prepare"))
            try:
                return proposed, prepare_stage(config, ArtifactStore(tmp_path / "store", frozenset()))
            except UserError as error:
                hint = next(iter(HINT.findall(str(error))), None)
                if hint is None or shlex.split(hint)[0] in proposed:
                    raise
                proposed += shlex.split(hint)

    return of


@pytest.mark.parametrize(
    ("date", "form"),
    [
        ("{d}/{m}/2017", "%d/%m/%Y"),
        ("{m}/{d}/2017", "%m/%d/%Y"),
        ("{d}.{m}.2017 08:15", '"%d.%m.%Y %H:%M"'),
        ("{m}/{d}/2017 8:15:00 PM", '"%m/%d/%Y %I:%M:%S %p"'),
        ("Sat Jul {d} 05:53:51 -0700 2017", '"%a %b %d %H:%M:%S %z %Y"'),
    ],
)
def test_dates_that_are_ambiguous(followed, date, form):
    proposed, data = followed(lines("{u},{i},{r}," + date))
    assert proposed == [f"data.reader.time={form}"]
    assert data.interactions["timestamp"].min() >= 1_483_000_000


def test_a_date_of_which_nothing_is_known_gets_no_proposal(followed):
    with pytest.raises(UserError, match=r"'yesterday', not a number of seconds .*: correct or remove the line$"):
        followed(lines("{u},{i},{r},yesterday"))


@pytest.mark.parametrize("unit", ["milliseconds", "microseconds"])
def test_numbers_in_another_unit_than_was_said(followed, unit):
    zeros = "0" * {"milliseconds": 6, "microseconds": 9}[unit]
    proposed, data = followed(lines("{u},{i},{r},{t}" + zeros), None, "data.reader.time=seconds")
    assert proposed == ["data.reader.time=" + {"milliseconds": "microseconds", "microseconds": "nanoseconds"}[unit]]
    assert data.interactions["timestamp"].min() == 1_500_000_000


def test_two_names_of_an_item(followed):
    items = "id,title\n" + "".join(f"{i},T{i}\n" for i in range(20))
    proposed, data = followed(lines("{u},{i},{r},{t}", "userId,movieId,stars,date"), items)
    assert proposed == [
        "data.columns.user_id=userId",
        "data.columns.item_id=movieId",
        "data.columns.rating=stars",
        "data.columns.timestamp=date",
        "data.item_columns.item_id=id",
    ]
    assert sorted(data.titles[1:]) == sorted(f"T{i}" for i in range(20))


def test_names_in_capitals_and_blanks_between_fields(followed):
    proposed, _ = followed(lines("{u} {i} {r} {t}", HEADER.upper().replace(",", " ")))
    names = [f"data.columns.{name}={name.upper()}" for name in HEADER.split(",")]
    assert proposed == ["data.reader.separator=space", *names]


def test_names_with_colons_are_quoted(followed):
    proposed, _ = followed(lines("{u},{i},{r},{t}", "user_id:token,item_id:token,rating:float,timestamp:float"))
    assert proposed[0] == 'data.columns.user_id="user_id:token"'
    assert len(proposed) == 4


@pytest.mark.parametrize("named", [(), ("data.columns.user_id=1", "data.columns.item_id=2")])
def test_no_header(followed, named):
    proposed, data = followed(lines("{u},{i},{r},{t}", None), None, *named)
    assert proposed == ["data.reader.header=false"]
    assert len(data.interactions) == 120  # the first line, too


def test_items_without_a_header(followed):
    proposed, data = followed(lines("{u},{i},{r},{t}"), "".join(f"{i},T{i}\n" for i in range(20)))
    assert proposed == ["data.reader.item_format.header=false"]
    assert sorted(data.titles[1:]) == sorted(f"T{i}" for i in range(20))


def test_columns_that_are_called_by_numbers(followed):
    given = [f"'data.columns.{role}=\"{k}\"'".strip("'") for k, role in enumerate(HEADER.split(","))]
    proposed, data = followed(lines("{u},{i},{r},{t}", "0,1,2,3"), None, *given)
    assert proposed == []
    assert len(data.interactions) == 120


def test_one_rating_for_all(followed):
    for given in ((), ("data.positive=1",)):
        proposed, data = followed(lines("{u},{i},1,{t}"), None, *given)
        assert proposed[-1] == "data.columns.rating=null"
        assert data.interactions["label"].mean() < 1


def test_neither_ratings_nor_times(followed):
    proposed, data = followed(lines("{u},{i}", "user_id,item_id"))
    assert proposed == ["data.columns.rating=null", "data.columns.timestamp=null"]
    assert not data.manifest["timed"]
