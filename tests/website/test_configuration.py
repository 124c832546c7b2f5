"""The reference of the configuration has every file and every key of conf/, with its comment."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from recsys_lora.config.paths import conf_dir
from website.configuration import INTERNAL, Key, described, groups, page

GROUPS = groups(conf_dir())
FILES = [(group, path) for group, files in GROUPS.items() for path in files]


def leaves(node, above=""):
    """Yield the paths of a config's values, by OmegaConf rather than by the generator's parser."""
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}"


def test_every_yaml_is_in_a_group():
    internal = {path for group in INTERNAL for path in (conf_dir() / group).glob("*.yaml")}
    assert {path for _, path in FILES} == {*conf_dir().rglob("*.yaml")} - internal


@pytest.mark.parametrize(("group", "path"), FILES, ids=lambda one: one if isinstance(one, str) else one.stem)
def test_a_groups_page_has_every_key_of_its_files(group, path):
    text = page(conf_dir(), group, GROUPS[group])
    held = OmegaConf.to_container(OmegaConf.load(path)) or {}
    if path.name == "_variants.yaml":
        assert all(f"| `{name}` |" in text for name in held)
        return
    held.pop("defaults", None)
    wide = "@package _global_" in path.read_text() or group == "config"
    above = "" if wide else f"{group.replace('/', '.')}."
    missing = [key for key in leaves(held) if f"| `{above}{key}` |" not in text]
    assert not missing
    assert f"\n## {path.stem}\n" in text


def made(tmp_path: Path, text: str, group: str = "model"):
    path = tmp_path / "it.yaml"
    path.write_text(text)
    return described(path, group)


def test_comments_stand_with_their_keys(tmp_path):
    one = made(
        tmp_path,
        "# What it is,\n# in two lines.\n#   python -m recsys_lora.run model=it\ndefaults: [_llm, prompt: history]\n"
        "# The first: a | b.\na: 1\nb: 2 # beside\nc:\n  # Below,\n  # in two lines.\n  d: [x,\n    y]\n"
        "  e: {f: null}\n",
    )
    assert one.about == ["What it is,", "in two lines."]
    assert one.commands == ["python -m recsys_lora.run model=it"]
    assert one.defaults == ["_llm", "prompt: history"]
    assert one.keys == [
        Key("model.a", "1", "The first: a | b."),
        Key("model.b", "2", "beside"),
        Key("model.c.d", "[x, y]", "Below, in two lines."),
        Key("model.c.e.f", "null", ""),
    ]
    assert "The first: a \\| b." in page(tmp_path, "model", [tmp_path / "it.yaml"])


def test_a_package_at_the_top_moves_keys(tmp_path):
    assert [key.name for key in made(tmp_path, "# @package _global_\n# It.\nseed: 1\n").keys] == ["seed"]


def test_each_key_of_the_config_has_a_comment():
    """The page says what every key at the top does."""
    keys = described(conf_dir() / "config.yaml", "config").keys
    assert not [key.name for key in keys if not key.about and "." not in key.name]
