"""The yaml files of the encoders and of what suits them on a data set."""

import functools
from itertools import pairwise

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from recsys_lora.config.check import mismatches
from recsys_lora.config.paths import conf_dir, options
from recsys_lora.config.variants import variants

TUNED = options("tuned")


@functools.cache
def cf_node(*overrides):
    """Return the encoder's node of a command line; no test changes it."""
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
    chosen = (f"data={data}", f"cf={cf}")
    tuned, plain = (dict(leaves(cf_node(*chosen, *without))) for without in ((), ("~tuned",)))
    assert tuned.keys() == plain.keys()
    assert tuned != plain
    assert cf_node(*chosen, "~tuned", *variants(conf_dir() / "tuned")[name]) == cf_node(*chosen)
    assert not mismatches({"cf": cf_node(*chosen)})


def test_a_persons_override_wins_over_the_tuned_value():
    assert cf_node("data=ml_1m", "cf=sasrec", "cf.encoder.dropout=0.25")["encoder"]["dropout"] == 0.25


@pytest.mark.parametrize("cf", options("cf"))
def test_each_knob_says_what_it_does_where_it_is_defined(cf):
    said: set[str] = set()
    for name in ("_base", cf):
        lines = (conf_dir() / "cf" / f"{name}.yaml").read_text().splitlines()
        for before, line in pairwise(lines):
            if line.startswith("  ") and before.lstrip().startswith("#"):
                said.add(line.split(":")[0].strip())
    knobs = {key for path, _ in leaves(cf_node(f"cf={cf}", "~tuned")) for key in path[1:] if not key.startswith("_")}
    assert knobs <= said
