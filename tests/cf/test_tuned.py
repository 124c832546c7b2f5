"""The yaml files of the encoders and of what suits them on a data set."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from recsys_lora.config.check import mismatches
from recsys_lora.config.paths import conf_dir, options

TUNED = sorted(path.stem for path in (conf_dir() / "tuned").glob("*.yaml"))


def cf_node(*overrides):
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        return OmegaConf.to_container(compose("config", list(overrides)).cf, resolve=True)


def leaves(node, at=()):
    for key, value in node.items():
        yield from leaves(value, (*at, key)) if isinstance(value, dict) else [((*at, key), value)]


@pytest.mark.parametrize("name", TUNED)
def test_a_tuned_file_changes_knobs_that_exist_and_is_taken_by_itself(name):
    cf = next(option for option in options("cf") if name.endswith(f"_{option}"))
    data = name.removesuffix(f"_{cf}")
    assert data in options("data")
    tuned = dict(leaves(cf_node(f"data={data}", f"cf={cf}")))
    plain = dict(leaves(OmegaConf.to_container(OmegaConf.load(conf_dir() / "cf" / f"{cf}.yaml"))))
    wanted = dict(leaves(OmegaConf.to_container(OmegaConf.load(conf_dir() / "tuned" / f"{name}.yaml"))))
    assert tuned.keys() == plain.keys()
    assert {key: tuned[key] for key in wanted} == wanted
    assert not list(mismatches({"cf": cf_node(f"data={data}", f"cf={cf}")}))


def test_a_persons_override_wins_over_the_tuned_value():
    assert cf_node("data=ml_1m", "cf=sasrec", "cf.encoder.dropout=0.25")["encoder"]["dropout"] == 0.25


@pytest.mark.parametrize("path", sorted(Path(conf_dir() / "cf").glob("*.yaml")), ids=lambda p: p.stem)
def test_each_knob_says_what_it_does(path):
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        if line.startswith("  ") and ":" in line and not line.lstrip().startswith(("#", "_")):
            assert lines[number - 1].lstrip().startswith("#"), f"line {number + 1}: {line}"
