"""The page is one file that asks its own server alone, and whose text from data is only ever text."""

import base64
import hashlib
import re
from html.parser import HTMLParser

from recsys_lora.serving.page import source


def test_the_policy_lets_its_own_style_and_script_run_and_nothing_else(client):
    answer = client.get("/")
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["connect-src"] == "'self'"
    for kind, source_of in (("script", "script-src"), ("style", "style-src")):
        [text] = re.findall(rf"<{kind}>(.*?)</{kind}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert policy[source_of] == f"'sha256-{digest}'"


class Outside(HTMLParser):
    """Collects what a page loads, and inline handlers and styles."""

    def __init__(self):
        super().__init__()
        self.found, self.labelled, self.inputs = [], set(), set()

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if (name in ("src", "href", "action") and value != "data:,") or name.startswith("on") or name == "style":
                self.found.append((tag, name, value))
        if tag == "label":
            self.labelled.add(dict(attrs)["for"])
        if tag == "input":
            self.inputs.add(dict(attrs)["id"])


def test_nothing_comes_from_elsewhere_and_every_field_has_a_label():
    page = Outside()
    page.feed(source())
    assert page.found == []
    assert page.inputs == page.labelled
    assert "//" not in re.sub(r"<!doctype html>", "", source())


def test_no_text_becomes_markup():
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|Function\(", source())


def test_the_style_is_short():
    [style] = re.findall(r"<style>\n(.*?)</style>", source(), re.DOTALL)
    assert len(style.splitlines()) <= 80
