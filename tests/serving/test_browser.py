"""The page in headless Chromium: by keyboard, with hostile data, in every way that its buttons allow."""

import asyncio
import contextlib
import threading

import pytest
import uvicorn

import recsys_lora
from recsys_lora.serving.app import make_app
from recsys_lora.serving.service import Options
from tests.serving import browser

pytestmark = [pytest.mark.slow, pytest.mark.skipif(browser.PROGRAM is None, reason="needs chromium")]
HOSTILE = "<img src=x onerror=\"document.title='broken'\">"


@contextlib.contextmanager
def served(recommender, options=None, other=None):
    """Yield the address of a server in a thread."""
    server = uvicorn.Server(uvicorn.Config(make_app(recommender, options, other), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


def seen(recommender, look, options=None, other=None):
    """Let a coroutine look at the page, and check that it complained about nothing."""

    async def open_and_look(url):
        async with browser.opened(url) as page:
            await look(page)
            return page.errors

    with served(recommender, options, other) as url:
        return asyncio.run(open_and_look(url))


TEXTS = "[...document.querySelectorAll('{}')].map((one) => one.textContent)"
HISTORY, METHOD = TEXTS.format("#history span"), TEXTS.format("#method td:nth-child(2)")
OTHER = "[...document.querySelectorAll('#other td:nth-child({})')].map((one) => one.textContent)"
FOCUS = "document.activeElement.getAttribute('aria-label')"


async def choose(page, user):
    await page.until("document.querySelectorAll('#users button').length")
    await page.run(f"document.getElementById('search').value = {user!r}")
    await page.run("document.getElementById('find').requestSubmit()")
    await page.until("document.querySelectorAll('#method tr').length")
    assert await page.run("document.querySelector('#users [aria-pressed=true]').textContent") == user


def test_the_lists_are_the_recommenders_and_move_with_the_history(cora):
    history = cora.history("u3").filter(liked=True)
    found = cora.recommend("u3", k=30, retrieve=30)
    by_cf = found.sort("cf_rank").head(10)["title"].to_list()

    async def look(page):
        await choose(page, "u3")
        assert await page.run(METHOD) == found.head(10)["title"].to_list()
        assert await page.run(TEXTS.format("#cf td:nth-child(2)")) == by_cf
        assert await page.run(HISTORY) == history["title"].reverse().head(15).to_list()
        await page.run("document.querySelector('#history button:nth-of-type(3)').focus()")
        await page.press("Enter")  # takes out the newest
        await page.until("document.querySelectorAll('#method td.up, #method td.down').length")
        left = history["item"].to_list()[:-1]
        moved = cora.recommend("u3", k=10, candidates=found["item"].to_list(), history=left, exclude_seen=False)
        assert await page.run(METHOD) == moved["title"].to_list()
        scores = await page.run(TEXTS.format("#method td:nth-child(3)"))
        assert scores == [f"{score:.3f}" for score in moved["score"]]
        assert await page.run(HISTORY) == history["title"].reverse()[1:16].to_list()
        newest = history["title"][-2]
        assert await page.run(FOCUS) == f"take out: {newest}"  # the keyboard stays where it was
        await page.press("Tab", "Tab")
        assert await page.run(FOCUS) == f"older: {history['title'][-3]}"
        await page.run("document.getElementById('reset').click()")
        await page.until("document.getElementById('status').textContent === ''")
        assert await page.run(METHOD) == found.head(10)["title"].to_list()

    assert seen(cora, look) == []


def test_two_runs_rank_the_same_items_side_by_side(cora, runs):
    other = recsys_lora.load(runs("cora-offset"))
    items = cora.recommend("u3", k=30, retrieve=30)["item"].to_list()
    places = dict(zip(items, range(1, 31), strict=False))

    async def look(page):
        await choose(page, "u3")
        assert not await page.run("document.getElementById('beside').hidden")
        found = other.recommend("u3", k=10, candidates=items, exclude_seen=False)
        assert await page.run(OTHER.format(2)) == found["title"].to_list()
        assert await page.run(OTHER.format(3)) == [str(places[item]) for item in found["item"]]
        assert await page.run(OTHER.format(4)) == [f"{score:.3f}" for score in found["score"]]
        await page.run("document.querySelector('#history button:nth-of-type(3)').focus()")
        await page.press("Enter")
        await page.until("document.querySelectorAll('#other td.up, #other td.down').length")
        left = other.history("u3").filter(liked=True)["item"].to_list()[:-1]
        moved = other.recommend("u3", k=10, candidates=items, history=left, exclude_seen=False)
        assert await page.run(OTHER.format(2)) == moved["title"].to_list()

    assert seen(cora, look, other=other) == []


def test_a_beginning_shows_the_users_to_choose_from(cora):
    async def look(page):
        await page.until("document.getElementById('status').textContent === 'Choose a user.'")
        for typed, status in (("u", "Choose a user."), ("zz", "No user's id begins so.")):
            await page.run(f"document.getElementById('search').value = {typed!r}")
            await page.run("document.getElementById('find').requestSubmit()")
            await page.until(f"document.getElementById('status').textContent === {status!r}")
            assert await page.run("document.getElementById('lists').hidden")
        await page.run("document.getElementById('search').value = 'u1'")
        await page.run("document.getElementById('find').requestSubmit()")
        await page.until("document.querySelectorAll('#method tr').length")
        shown = await page.run(TEXTS.format("#users button"))
        assert shown[0] == "u1"
        assert "u10" in shown

    assert seen(cora, look) == []


def test_one_run_has_no_second_list(cora):
    async def look(page):
        await choose(page, "u3")
        assert await page.run("document.getElementById('beside').hidden")

    assert seen(cora, look) == []


def test_text_of_the_data_is_text(runs):
    recommender = recsys_lora.load(runs("cora"))
    recommender.add_items([("evil", HOSTILE)])
    recommender.update([(HOSTILE, "i1", 5.0), (HOSTILE, "evil", 5.0)])

    async def look(page):
        await choose(page, HOSTILE)
        assert await page.run(HISTORY) == [HOSTILE, "Thing 1"]
        assert await page.run("document.querySelectorAll('img').length") == 0
        assert await page.run("document.title") == "recsys_lora"

    assert seen(recommender, look) == []


def test_a_token_is_asked_for(cora):
    async def look(page):
        await page.until("!document.getElementById('key').hidden")
        await page.until("document.getElementById('status').textContent.includes('Bearer')")
        await page.run("document.getElementById('token').value = 'sesame'")
        await page.run("document.getElementById('key').requestSubmit()")
        await choose(page, "u3")
        assert await page.run("document.getElementById('key').hidden")

    errors = seen(cora, look, Options(token="sesame"))
    assert all("401" in str(error) for error in errors)
