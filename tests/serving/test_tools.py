"""The tools answer what the recommender answers, in this process and over standard input and output."""

import asyncio
import os
import sys

import polars as pl
import pytest
from mcp import Client, StdioServerParameters

from recsys_lora.cli.mcp import main
from recsys_lora.serving.tools import make_tools
from tests.serving.test_app import asked, same

CALLS = [
    ("recommend", {"users": ["u4", "u1"], "k": 5}),
    ("recommend", {"users": ["x"], "k": 3, "history": ["i1", "i2"]}),
    ("recommend", {"users": [None], "k": 3, "history": []}),
    ("recommend", {"users": ["u2"], "candidates": ["i1", "i5"]}),
    ("score", {"pairs": [["u1", "i1"], ["u2", "i1"]]}),
    ("similar", {"item": "i3", "k": 4}),
]


def called(server, calls):
    """Return the results of calls."""

    async def ask():
        async with Client(server) as client:
            return [await client.call_tool(name, arguments) for name, arguments in calls]

    return asyncio.run(ask())


def test_an_answer_is_the_recommenders(cora):
    found = called(make_tools(cora), CALLS)
    for (name, arguments), one in zip(CALLS, found, strict=True):
        right = asked(cora, f"/{name}", arguments)
        assert not one.is_error
        same(pl.DataFrame(one.structured_content["rows"], schema=right.schema), right)
    [history] = called(make_tools(cora), [("history", {"user": "u3"})])
    assert [row["item"] for row in history.structured_content["rows"]] == cora.history("u3")["item"].to_list()


def test_a_mistake_is_told(cora):
    wrong = [
        ("score", {"pairs": [["u1", "nothing"]]}, "item 'nothing': not among"),
        ("history", {"user": "who"}, "user 'who': not among"),
        ("recommend", {"users": ["u1"], "k": 0}, "k"),
        ("recommend", {"users": ["u1"] * 3}, "300 rows: this server computes 200"),
        ("similar", {"item": "i3", "k": 999}, "999 rows"),
    ]
    for (*_, said), found in zip(wrong, called(make_tools(cora, 200), [one[:2] for one in wrong]), strict=True):
        assert found.is_error
        assert said in found.content[0].text


def test_every_tool_says_what_it_takes(cora):
    async def listed():
        async with Client(make_tools(cora)) as client:
            return (await client.list_tools()).tools

    tools = asyncio.run(listed())
    assert [tool.name for tool in tools] == ["recommend", "score", "similar", "history"]
    assert all(tool.description and tool.input_schema["required"] and tool.output_schema for tool in tools)
    assert all(tool.annotations.read_only_hint for tool in tools)


@pytest.mark.slow
def test_it_speaks_over_standard_input_and_output(cora, runs):
    line = ["-m", "recsys_lora", "mcp", f"run={runs('cora')}"]
    server = StdioServerParameters(command=sys.executable, args=line, env=dict(os.environ))
    [found] = called(server, CALLS[4:5])
    right = asked(cora, "/score", CALLS[4][1])
    same(pl.DataFrame(found.structured_content["rows"], schema=right.schema), right)


def test_a_mistake_of_the_command_line_is_one_line(runs, capsys, monkeypatch):
    with pytest.raises(SystemExit):
        main(["run=nowhere"])
    assert "nowhere" in capsys.readouterr().err
    line = [f"run={runs('mf')}"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        main(line)
    assert "pip install 'recsys-lora[mcp]'" in capsys.readouterr().err
