"""`preset=published`, `rates=published` and `budget=paper` against the values of the public code, one by one.

The tables below are written from the authors' repositories (CoLLM 48042b1, BinLLM b28bfc4, CoRA 4d69c83, GraphLoRA
284147d, CKF 64c7726), not from conf/.
"""

import functools
from dataclasses import replace

import pytest

from recsys_lora.config.check import mismatches
from recsys_lora.config.edge import read_run
from recsys_lora.config.paths import options
from tests.jobs import composed, resolved

LLM_METHODS = ("tallrec", "collm", "binllm", "person_prompt", "prompt4nr", "cora", "graphlora")
ENCODERS = ("mf", "lightgcn", "sasrec", "din", "binary_mf")
NAMED = {"amazon": ("data.reviews=reviews.json.gz", "data.meta=meta.json.gz")}
LOWEST = 8e-5
"""Where the cosine of all 7B runs ends; it begins at 1e-5."""

# (method, CF model, data set): learning rate, rows a device, iterations of an "epoch", epochs.
RATES = {
    ("tallrec", "mf", "ml_1m"): (1e-3, 16, 50, 200),
    ("tallrec", "mf", "amazon_book"): (1e-4, 8, 100, 1000),
    ("collm", "mf", "ml_1m"): (1e-3, 16, 50, 200),
    ("collm", "mf", "amazon_book"): (1e-2, 8, 100, 1000),
    ("collm", "lightgcn", "ml_1m"): (1e-3, 16, 50, 200),
    ("collm", "lightgcn", "amazon_book"): (1e-2, 8, 100, 200),
    ("collm", "sasrec", "ml_1m"): (1e-3, 16, 50, 200),
    ("collm", "sasrec", "amazon_book"): (1e-4, 8, 100, 200),
    ("collm", "din", "ml_1m"): (1e-3, 16, 50, 200),
    ("person_prompt", "mf", "ml_1m"): (1e-2, 16, 50, 1000),
    ("person_prompt", "mf", "amazon_book"): (1e-4, 8, 100, 1000),
    ("prompt4nr", "mf", "ml_1m"): (1e-4, 16, 50, 1000),
    ("prompt4nr", "mf", "amazon_book"): (1e-2, 8, 100, 1000),
    ("binllm", "binary_mf", "ml_1m"): (1e-4, 4, 50, 200),
    ("cora", "mf", "ml_1m"): (1e-3, 8, 100, 1000),
    ("cora", "mf", "amazon_book"): (1e-3, 4, 100, 1000),
    ("cora", "lightgcn", "ml_1m"): (1e-3, 16, 50, 200),
    ("cora", "lightgcn", "amazon_book"): (1e-2, 8, 100, 200),
    ("cora", "sasrec", "ml_1m"): (1e-3, 16, 50, 200),
    ("cora", "sasrec", "amazon_book"): (1e-4, 8, 100, 200),
    ("graphlora", "mf", "ml_1m"): (1e-4, 1, 1000, 500),
    ("graphlora", "mf", "amazon_book"): (1e-4, 2, 1000, 200),  # one on each of two GPUs
}
# (whose, CF model, data set): width, learning rate, L2, batch, patience.
CF = {
    ("collm", "mf", "ml_1m"): (256, 1e-3, 1e-4, 2048, 100),
    ("collm", "mf", "amazon_book"): (256, 1e-3, 1e-6, 10240, 100),
    ("cora", "mf", "ml_1m"): (256, 1e-3, 1e-4, 1024, 20),
    ("collm", "lightgcn", "ml_1m"): (64, 1e-2, 1e-4, 2048, 100),
    ("cora", "lightgcn", "ml_1m"): (256, 1e-2, 1e-4, 1024, 20),
    ("collm", "lightgcn", "amazon_book"): (256, 1e-4, 1e-7, 10240, 100),
    ("cora", "lightgcn", "amazon_book"): (256, 1e-2, 1e-6, 10240, 20),
    ("collm", "sasrec", "ml_1m"): (64, 1e-2, 1e-2, 2048, 100),
    ("cora", "sasrec", "ml_1m"): (256, 1e-2, 1e-4, 10240, 20),
    ("collm", "sasrec", "amazon_book"): (64, 1e-3, 1e-3, 10240, 100),
    ("cora", "sasrec", "amazon_book"): (256, 1e-2, 1e-4, 10240, 20),
    ("binllm", "binary_mf", "ml_1m"): (32, 1e-2, 1e-3, 2048, 100),
    ("binllm", "binary_mf", "amazon_book"): (32, 1e-3, 1e-4, 2048, 100),
}
RANKS = {
    ("mf", "ml_1m"): (16, 32),
    ("mf", "amazon_book"): (16, 32),
    ("lightgcn", "ml_1m"): (64, 128),
    ("lightgcn", "amazon_book"): (16, 32),
    ("sasrec", "ml_1m"): (64, 128),
    ("sasrec", "amazon_book"): (16, 32),
}


@functools.cache
def config_of(*overrides):
    """Return the config of a command line; no test changes it."""
    return resolved(*overrides)


def published(method, cf, data):
    return config_of(f"model={method}", f"cf={cf}", f"data={data}", "preset=published")


def line(settings):
    return ", ".join(map(str, settings)) if isinstance(settings, tuple) else str(settings)


@pytest.mark.parametrize(("run", "values"), RATES.items(), ids=line)
def test_rates(run, values):
    lr, rows, iterations, epochs = values
    config = published(*run)
    assert not mismatches(config)
    optimizer = config["model"]["optimizer"]
    assert config["model"]["batch_size"] == rows
    assert optimizer["lr"] == lr
    assert optimizer["horizon_steps"] == iterations * epochs
    assert optimizer["schedule"] == "cosine"
    assert optimizer["warmup_steps"] == 200
    assert optimizer["weight_decay"] == 1e-3
    assert optimizer["initial_lr_fraction"] * lr == pytest.approx(1e-5)
    assert optimizer["final_lr_fraction"] * lr == pytest.approx(LOWEST)
    assert config["trainer"]["val_check_interval"] == iterations
    assert config["callbacks"]["stop_early"]["patience"] == (50 if run[0] == "graphlora" else 20)
    assert config["data"]["valid_rows"] == "published"


@pytest.mark.parametrize("method", [*LLM_METHODS, "ckf"])
def test_the_budget_and_the_rates_alone_are_those_of_the_preset(method):
    whole = published(method, "mf", "amazon_book")
    budget, rates = (
        config_of(f"model={method}", "cf=mf", "data=amazon_book", alone)
        for alone in ("budget=paper", "rates=published")
    )
    for config in (budget, rates):
        assert config["model"]["optimizer"] == whole["model"]["optimizer"]
        assert config["model"]["batch_size"] == whole["model"]["batch_size"]
    assert (budget["trainer"], budget["data"]) == (whole["trainer"], whole["data"])
    assert rates["data"]["train_rows"] == config_of()["data"]["train_rows"]


@pytest.mark.parametrize(("run", "values"), CF.items(), ids=line)
def test_cf_models(run, values):
    config = published(*run)["cf"]
    fit, encoder = config["fit"], config["encoder"]
    assert (encoder["dim"], fit["lr"], fit["weight_decay"], fit["batch_size"], config["trainer"]["patience"]) == values
    assert encoder["init_std"] == (0.1 if run[1] == "lightgcn" else 1.0)
    assert (fit["objective"], fit["decay"], config["trainer"]["max_epochs"]) == ("bce", "l2", 5000)


def test_sasrec_reads_padding_in_one_head():
    for data, length in (("ml_1m", 25), ("amazon_book", 20)):
        encoder = published("cf", "sasrec", data)["cf"]["encoder"]
        assert (encoder["padding"], encoder["heads"], encoder["blocks"], encoder["dropout"]) == ("read", 1, 2, 0.2)
        assert encoder["history_length"] == length


@pytest.mark.parametrize(
    ("data", "dim", "dropout", "decay"), [("ml_1m", 64, 0.2, 1e-4), ("amazon_book", 256, 0.8, 1e-2)]
)
def test_din(data, dim, dropout, decay):
    cf = published("cf", "din", data)["cf"]
    assert (cf["encoder"]["dim"], cf["encoder"]["dropout"], cf["fit"]["weight_decay"]) == (dim, dropout, decay)
    assert cf["fit"]["lr"] == 1e-4


@pytest.mark.parametrize("method", [name for name in LLM_METHODS if name != "cora"])
def test_lora_and_how_it_is_asked(method):
    model = published(method, "mf", "ml_1m")["model"]
    assert (model["rank"], model["alpha"], model["targets"]) == (8, 16, ["q_proj", "v_proj"])
    assert (model["dropout"], model["dropout_per"], model["score"]) == (0.05, "token", "yes")
    prompt = model["prompt"]
    assert (prompt["history_items"], prompt["line_break"], prompt["empty_history"]) == (10, "backslash_n", "unkow")
    assert prompt["max_tokens"] == 1024


@pytest.mark.parametrize(("run", "values"), RANKS.items(), ids=line)
def test_cora(run, values):
    model = published("cora", *run)["model"]
    assert (model["rank"], model["alpha"]) == values
    assert model["targets"] == ["q_proj", "k_proj", "v_proj", "o_proj"]
    assert (model["dropout"], model["dropout_per"], model["input_scale"], model["score"]) == (
        0.05,
        "token",
        "none",
        "yes",
    )
    assert model["prompt"]["max_tokens"] == 2048
    expected = {
        "queries": 4,
        "blocks": 8,
        "heads": 8,
        "query_dim": 512,
        "ffn_dim": 3072,
        "init_std": 0.02,
        "norm_eps": 1e-12,
        "dropout": 0.1,
        "single_key": "separate",
        "kind": "queries",
        "input": "joint",
        "pooling": "mean",
        "normalise": True,
    }
    assert {name: model["generator"][name] for name in expected} == expected


def test_collm():
    for cf, data, factor in (("mf", "ml_1m", 10), ("sasrec", "ml_1m", 10), ("sasrec", "amazon_book", 15)):
        model = published("collm", cf, data)["model"]
        assert (model["factor"], model["input_scale"], model["output_scale"]) == (factor, "none", "none")
        assert (model["tune_encoder"], model["tune_lora"]) == (False, False)
    released = published("collm", "mf", "amazon_book")["model"]
    assert (released["tune_encoder"], released["encoder_start"]) == (True, "fresh")


def test_codes():
    for data, steps in (("ml_1m", 2 * 1000 * 17), ("amazon_book", 2 * 50 * 356)):
        encoder = published("binllm", "binary_mf", data)["cf"]["encoder"]
        assert (encoder["ramp_steps"], encoder["scaled"]) == (steps, False)


def test_graphlora():
    for data, layer, tuned in (("ml_1m", "middle", True), ("amazon_book", "last", False)):
        model = published("graphlora", "mf", data)["model"]
        assert (model["beta"], model["layer"], model["tune_encoder"]) == (0.1, layer, tuned)
        assert model["layer_alpha"] == model["rank"]  # alpha / R = 1
        assert (model["graph"]["kind"], model["graph"]["layers"], model["graph"]["dropout"]) == ("ngcf", 3, 0.0)


def test_ckf():
    config = published("ckf", "mf", "ml_1m")
    model, optimizer, task = config["model"], config["model"]["optimizer"], config["task"]
    assert (model["rank"], model["alpha"], model["dropout"], model["dropout_per"]) == (16, 64, 0.1, "token")
    assert (model["shared_targets"], model["specific_targets"]) == (["k_proj", "v_proj", "o_proj"], ["q_proj"])
    assert model["mapping"]["start"] == "pytorch"
    assert (model["mapping"]["hidden"], model["mapping"]["activation"], config["cf"]["encoder"]["dim"]) == (
        [32],
        "none",
        8,
    )
    assert (model["objective"]["curriculum"], model["objective"]["steepness"]) == ("weighted", 8)
    assert (optimizer["lr"], optimizer["eps"], optimizer["weight_decay"], optimizer["schedule"]) == (
        1e-4,
        1e-6,
        1e-3,
        "linear",
    )
    assert (optimizer["max_warmup_fraction"], config["trainer"]["max_epochs"], config["tasks"]) == (
        0.05,
        3,
        ["ctr", "topk", "rating"],
    )
    shares = [task[name]["train_share"] for name in config["tasks"]]
    assert [share / sum(shares) * model["batch_size"] for share in shares] == [16, 16, 8]
    assert all(task[name]["history_range"] == [1, 20] for name in config["tasks"])
    assert task["rating"]["text"]["history"] == task["rating"]["collaborative"]["history"] == "rated"
    assert (task["topk"]["train_per_user"], task["topk"]["eval_per_user"]) == (None, None)


def test_ckf_on_books_counts_every_rating_of_2014():
    config = published("ckf", "mf", "amazon")
    assert (config["data"]["positive"], config["data"]["min_user_rows"], config["data"]["min_item_rows"]) == (
        1.0,
        20,
        10,
    )
    assert (config["data"]["reader"]["years"], config["model"]["batch_size"]) == ([2014], 48)


@pytest.mark.parametrize("method", ["collm", "binllm", "person_prompt"])
@pytest.mark.parametrize("data", ["ml_1m", "amazon_book"])
@pytest.mark.parametrize("override", ["preset=published", "budget=paper"])
def test_a_first_stage_is_the_run_of_tallrec(method, data, override):
    config = run_of(method, data, override)
    first = replace(config, model=config.first, first=None)
    assert first.deciding("method") == run_of("tallrec", data, override).deciding("method")


@functools.cache
def run_of(method, data, override):
    return read_run(composed(f"model={method}", f"data={data}", override, run="same"))


PAIRS = [("cf", cf) for cf in options("cf")] + [
    (method, options("cf")[number % len(options("cf"))]) for number, method in enumerate(options("model"))
]
"""Each CF model alone, and each method with one of them; those with values of their own are in `RATES`."""


@pytest.mark.parametrize("data", ["ml_1m", "amazon_book"])
@pytest.mark.parametrize(("method", "cf"), dict.fromkeys(PAIRS))
def test_every_method_and_cf_model_composes_and_fits_its_signatures(method, cf, data):
    assert not mismatches(published(method, cf, data))


@pytest.mark.parametrize("data", sorted({*options("data")} - {"ml_1m", "amazon_book"}))
def test_other_data_sets_have_values_too(data):
    for method in ("cora", "collm", "ckf", "cf"):
        config = resolved(f"model={method}", f"data={data}", "preset=published", *NAMED.get(data, ()))
        found = mismatches(config)
        assert not found, (method, found)
        assert config["data"]["valid_rows"] is None


@pytest.mark.parametrize("method", options("model"))
def test_the_budget_alone_fits_every_method(method):
    assert not mismatches(config_of(f"model={method}", "data=ml_1m", "budget=paper"))


def test_by_default_nothing_is_published():
    model = resolved("data=ml_1m")["model"]
    assert (model["score"], model["optimizer"]["horizon_steps"]) == ("yes_minus_no", None)


def test_what_is_typed_wins_over_the_preset():
    config = resolved("model=cora", "cf=mf", "data=ml_1m", "preset=published", "model.rank=3", "budget=smoke", "seed=7")
    assert (config["model"]["rank"], config["seed"], config["data"]["train_rows"]) == (3, 7, 64)
    assert config["model"]["batch_size"] == 8
    assert config["cf"]["trainer"]["max_epochs"] == 3


@pytest.mark.parametrize("row", ["collm_sasrec", "cora_lightgcn"])
def test_a_row_of_the_table_has_its_methods_values(row):
    model, cf = row.split("_")
    assert resolved(f"row={row}", "data=ml_1m", "preset=published") == published(model, cf, "ml_1m")
