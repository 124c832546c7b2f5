"""A variant is the overrides it lists, and `_` hides what is no choice."""

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from recsys_lora.config.paths import conf_dir, options
from recsys_lora.config.variants import as_config, choices, variant, variants
from recsys_lora.utils.errors import UserError
from tests.cli.test_launch import command
from tests.documents import parsed
from tests.jobs import resolved

LISTED = [(group, name) for group in ("row", "ablation") for name in variants(conf_dir() / group)][::3]
"""A third of all, for a variant composes slowly; that each composes is in `test_yaml.py`."""


def method(group, name):
    """Return the model that an ablation is of: its name begins with it."""
    return [f"model={name.split('_')[0]}"] if group == "ablation" else []


@pytest.mark.parametrize(("group", "name"), LISTED, ids=lambda v: v)
def test_a_variant_is_what_its_overrides_are_on_the_command_line(group, name):
    overrides = variants(conf_dir() / group)[name]
    assert resolved(*method(group, name), f"{group}={name}") == resolved(*method(group, name), *overrides)


def test_an_override_beside_a_variant_wins():
    config = resolved("row=cora_mf", "cf=din", "model.rank=3")
    assert (config["model"]["name"], config["model"]["rank"], config["cf"]["name"]) == ("cora", 3, "din")


def test_a_group_offers_its_files_and_its_variants_but_no_parts(tmp_path):
    group = tmp_path / "row"
    group.mkdir()
    for name in ("own", "_base"):
        (group / f"{name}.yaml").write_text("a: 1\n")
    assert choices(tmp_path, "row") == ["own"]
    (group / "_variants.yaml").write_text("listed: [model=cora]\n")
    assert choices(tmp_path, "row") == ["listed", "own"]
    (group / "_variants.yaml").write_text("other: [model=cora]\nlisted: []\n")  # read again
    assert choices(tmp_path, "row") == ["listed", "other", "own"]


def test_files_of_a_folder_of_ones_own_stand_beside_variants(tmp_path):
    (tmp_path / "row").mkdir()
    (tmp_path / "row" / "mine.yaml").write_text("# @package _global_\ndefaults: [override /cf: mf]\nseed: 7\n")
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        found = [compose("config", [f"hydra.searchpath=[file://{tmp_path}]", f"row={n}"]) for n in ("mine", "cora_din")]
    assert [(cfg.cf.name, cfg.seed) for cfg in found] == [("mf", 7), ("din", 1)]


def test_groups_are_chosen_and_values_set(tmp_path):
    (tmp_path / "model" / "prompt").mkdir(parents=True)
    made = OmegaConf.to_container(as_config(tmp_path, ["model=cora", "model/prompt@first.prompt=icl", "a.b=[1,x]"]))
    chosen = [{"override /model": "cora"}, {"override /model/prompt@first.prompt": "icl"}]
    assert made == {"defaults": chosen, "a": {"b": [1, "x"]}}


@pytest.mark.parametrize("override", ["model.rank=1,2", "+model.new=1", "~model.rank", "seed=range(3)"])
def test_a_variant_that_is_more_than_values_is_refused(tmp_path, override):
    with pytest.raises(UserError, match="a variant sets what is there"):
        as_config(tmp_path, [override])


@pytest.mark.parametrize("text", ["a: model.rank=1\n", "- model.rank=1\n", "a: {model: {rank: 1}}\n"])
def test_a_list_of_another_form_is_refused(tmp_path, text):
    (tmp_path / "_variants.yaml").write_text(text)
    with pytest.raises(UserError, match="write a list of overrides for each name"):
        variants(tmp_path)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("row=cora_nf", "row=cora_nf: no such option: did you mean cora_mf"),
        ("ablation=ckf_sigmod", "did you mean ckf_sigmoid"),
        ("model=_lla", "model=_lla: no such option"),
    ],
)
def test_a_mistyped_variant_is_answered_with_the_nearest(tmp_path, override, said):
    _, err = command(tmp_path, override)
    assert err.startswith(f"error: {said}") or said in err
    assert len(err.strip().splitlines()) == 1
    assert "_llm" not in err


def test_a_sweep_over_a_glob_has_the_variants_that_fit():
    [rows, ckf] = parsed(["row=glob(cora*)", "ablation=glob(ckf*,exclude=ckf_weighted)"])
    encoders = ["din", "lightgcn", "mf", "sasrec"]
    assert list(rows.sweep_string_iterator()) == [*(f"cora_{name}" for name in encoders), "cora_tuned_mf"]
    swept = list(ckf.sweep_string_iterator())
    assert len(swept) == 14
    assert swept[0] == "ckf"


def test_hidden_files_are_in_no_help():
    assert all(not name.startswith("_") for group in ("model", "cf", "llm", "row") for name in options(group))


PATTERNS = """
pub-*-*: [a=1, b=1]
pub-cora-*: [b=2, [c=2, [d=2]]]
pub-cora-mf: [d=3]
own: [a=7]
"""


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("pub-cora-mf", ["a=1", "b=1", "b=2", "c=2", "d=2", "d=3"]),
        ("pub-cora-din", ["a=1", "b=1", "b=2", "c=2", "d=2"]),
        ("pub-ckf-mf", ["a=1", "b=1"]),
        ("own", ["a=7"]),
        ("None-cora-mf", None),
        ("pub-*-*", ["a=1", "b=1"]),
    ],
)
def test_a_name_has_the_overrides_of_all_patterns_that_fit(tmp_path, name, overrides):
    (tmp_path / "_variants.yaml").write_text(PATTERNS)
    assert variant(tmp_path, name) == overrides


def test_of_two_patterns_the_later_counts_and_none_is_a_choice(tmp_path):
    (tmp_path / "row").mkdir()
    (tmp_path / "row" / "_variants.yaml").write_text(PATTERNS)
    assert choices(tmp_path, "row") == ["own"]
    made = as_config(tmp_path, variant(tmp_path / "row", "pub-cora-mf"))
    assert OmegaConf.to_container(made) == {"defaults": [], "a": 1, "b": 2, "c": 2, "d": 3}
