"""A task's record against scikit-learn and loops over the questions."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, mean_squared_error, roc_auc_score

from recsys_lora.evaluation.warm_cold import COLD, NEITHER, WARM
from recsys_lora.report.metrics_schema import TaskBlock
from recsys_lora.tasks.record import Answered, task_record
from tests.tasks import examples
from tests.tasks.examples import SAMPLE, block, ctr, explanation, rating, topk, warm


def line(record, name, sample=False):
    [found] = [one for one in record["lines"] if one["name"] == name and one["sample"] == sample]
    return found


def measured(record, name, part="metrics", sample=False):
    found = line(record, name, sample)
    return found["metrics"] if part == "metrics" else found["parts"][record["warm_definition"]][part]


def value(record, name, metric, part="metrics", sample=False):
    return measured(record, name, part, sample)[metric]["value"]


def parts(flags):
    return {"metrics": np.ones(len(flags), dtype=bool), "warm": flags == WARM, "cold": flags == COLD}


@pytest.mark.parametrize("definition", ["seen", "notebook"])
def test_click_through_is_scikit_learn_s_on_all_warm_and_cold_questions(definition):
    task, questions, lines = ctr()
    flags = warm(questions)[definition]
    record = task_record(task, questions, lines, warm(questions), definition, draws=0)
    assert record["warm_definition"] == definition
    assert record["parts"][definition] == {"warm": (flags == WARM).sum(), "cold": (flags == COLD).sum()}
    assert record["positives"] == questions.label.sum()
    assert (NEITHER in flags) == (definition == "notebook")
    for one in lines:
        if one.sample is not None:
            continue
        for part, mask in parts(flags).items():
            label, score, user = questions.label[mask], one.output[mask], questions.user[mask]
            assert value(record, one.name, "auc", part) == pytest.approx(roc_auc_score(label, score), abs=1e-12)
            own = [
                roc_auc_score(label[user == who], score[user == who])
                for who in np.unique(user)
                if len(set(label[user == who])) == 2
            ]
            assert value(record, one.name, "uauc", part) == pytest.approx(np.mean(own), abs=1e-12)
            assert measured(record, one.name, part)["uauc"]["users"] == len(own)
            chance = 1 / (1 + np.exp(-score))
            assert value(record, one.name, "log_loss", part) == pytest.approx(log_loss(label, chance), abs=1e-12)


def test_ratings_are_scikit_learn_s_on_all_warm_and_cold_questions():
    task, questions, lines = rating()
    record = task_record(task, questions, lines, warm(questions), "seen", draws=0)
    for part, mask in parts(warm(questions)["seen"]).items():
        truth, output = questions.label[mask], lines[-1].output
        expected, argmax = output.expected[mask], output.argmax[mask]
        found = {name: value(record, "ckf", name, part) for name in measured(record, "ckf", part)}
        assert found == pytest.approx(
            {
                "mae": mean_absolute_error(truth, expected),
                "rmse": mean_squared_error(truth, expected) ** 0.5,
                "mae_argmax": mean_absolute_error(truth, argmax),
                "rmse_argmax": mean_squared_error(truth, argmax) ** 0.5,
                "accuracy": accuracy_score(truth, argmax),
            }
        )


def test_candidates_are_ranked_as_by_a_loop():
    task, questions, lines = topk()
    record = task_record(task, questions, lines, warm(questions), "seen", draws=0)
    for part, mask in parts(warm(questions)["seen"]).items():
        ranks = []
        for scores, target in zip(lines[-1].output[mask], questions.target[mask], strict=True):
            ranks.append(sorted(range(len(scores)), key=lambda place: -scores[place]).index(target) + 1)
        assert value(record, "ckf", "hr@3_of10_uniform", part) == np.mean([rank <= 3 for rank in ranks])
        assert value(record, "ckf", "mrr_of10_uniform", part) == pytest.approx(np.mean([1 / rank for rank in ranks]))


def test_the_sample_holds_the_method_beside_the_shuffled_line_on_the_same_questions():
    _, questions, lines = ctr()
    record = block("ctr")
    assert record["sample_rows"] == len(SAMPLE)
    assert [(one["name"], one["sample"]) for one in record["lines"]][-2:] == [
        ("ckf", True),
        ("ckf, users shuffled", True),
    ]
    label = questions.label[SAMPLE]
    own = next(one for one in lines if one.role == "method").output[SAMPLE]
    shuffled = next(one for one in lines if one.role == "method_shuffled").output
    found = [value(record, name, "auc", sample=True) for name in ("ckf", "ckf, users shuffled")]
    assert found == pytest.approx([roc_auc_score(label, own), roc_auc_score(label, shuffled)])
    [difference] = [d for d in record["differences"] if d["sample"] and d["metric"] == "auc"]
    assert (difference["first"], difference["second"]) == ("ckf", "ckf, users shuffled")
    assert difference["value"] == pytest.approx(found[0] - found[1])
    cold = warm(questions)["seen"][SAMPLE] == COLD
    assert value(record, "ckf", "auc", "cold", sample=True) == pytest.approx(roc_auc_score(label[cold], own[cold]))


def test_lines_stand_in_the_order_of_their_roles():
    assert [one["role"] for one in block("ctr")["lines"]] == [
        *("baseline", "cf", "frozen_llm", "method_text", "method", "method", "method_shuffled")
    ]
    assert block("topk")["sample_rows"] is None


@pytest.mark.parametrize("name", ["ctr", "rating", "topk", "explanation"])
def test_differences_are_the_methods_value_minus_each_other_lines(name):
    record = block(name)
    others = [one for one in record["lines"] if one["role"] != "method"]
    pairs = {(d["second"], d["metric"]) for d in record["differences"]}
    metrics = {m for m, v in others[0]["metrics"].items() if v["interval"] is not None}
    assert pairs == {(one["name"], metric) for one in others for metric in metrics}
    for d in record["differences"]:
        values = [value(record, who, d["metric"], sample=d["sample"]) for who in (d["first"], d["second"])]
        assert d["value"] == pytest.approx(values[0] - values[1])
        error = d["metric"].startswith(("mae", "rmse", "log_loss"))
        assert d["better"] == (d["value"] < 0 if error else d["value"] > 0)
        assert d["interval"][0] <= d["interval"][1]


def test_an_interval_of_a_difference_is_that_of_a_loop_over_drawn_users():
    task, questions, lines = rating()
    record = task_record(task, questions, lines, warm(questions), "seen", draws=400)
    constant, own = lines[0].output.expected, lines[-1].output.expected
    gain = np.abs(own - questions.label) - np.abs(constant - questions.label)
    users, random, drawn = np.unique(questions.user), np.random.default_rng(9), []
    for _ in range(2000):
        rows = np.concatenate([np.flatnonzero(questions.user == who) for who in random.choice(users, len(users))])
        drawn.append(gain[rows].mean())
    [found] = [d for d in record["differences"] if d["metric"] == "mae" and d["second"] == lines[0].name]
    width = np.ptp(np.quantile(drawn, [0.025, 0.975]))
    np.testing.assert_allclose(found["interval"], np.quantile(drawn, [0.025, 0.975]), atol=0.15 * width)


def test_a_metric_that_is_undefined_has_a_reason_and_no_difference():
    task, questions, lines = ctr()
    questions.label[:] = 1.0
    record = task_record(task, questions, lines, warm(questions), "seen", draws=5)
    rows = len(questions)
    assert line(record, "ckf")["metrics"]["auc"] == {
        "value": None,
        "interval": None,
        "standard_error": None,
        "reason": f"one class only: {rows} of {rows} rows are positive",
        "users": None,
    }
    assert line(record, "ckf")["metrics"]["uauc"]["reason"] == "no user has rows of both classes"
    assert {d["metric"] for d in record["differences"]} == {"log_loss"}
    TaskBlock.model_validate(record)


@pytest.mark.parametrize("name", ["ctr", "rating", "topk", "explanation"])
def test_without_cold_questions_every_cold_metric_says_so(name):
    task, questions, lines = getattr(examples, name)()
    warm = {"seen": np.full(len(questions), WARM, dtype=np.int8)}
    record = task_record(task, questions, lines, warm, "seen", draws=0)
    assert record["parts"]["seen"]["cold"] == 0
    for one in record["lines"]:
        cold = one["parts"]["seen"]["cold"]
        assert cold.keys() == one["metrics"].keys()
        assert {metric["value"] for metric in cold.values()} == {None}
        assert all(metric["reason"] for metric in cold.values())
    TaskBlock.model_validate(record)


def test_numbers_of_a_whole_corpus_have_neither_interval_nor_difference_and_bleu_has_its_signature():
    record = block("explanation")
    found = line(record, "ckf")["metrics"]
    assert found["rouge_l"]["interval"] is not None
    assert found["bleu"]["interval"] is None
    assert "no interval" in found["bleu"]["reason"]
    assert {d["metric"] for d in record["differences"]} == {"rouge_l"}
    assert "version:" in record["remarks"]["bleu"]


@pytest.mark.parametrize("name", ["ctr", "rating", "topk", "explanation"])
def test_records_follow_the_schema(name):
    assert TaskBlock.model_validate(block(name)).model_dump()["rows"] == block(name)["rows"]


def test_there_is_one_method():
    task, questions, lines = explanation()
    twice = [*lines, Answered("again", "method", lines[-1].output)]
    for wrong in ([one for one in lines if one.role != "method"], twice):
        with pytest.raises(ValueError, match="explanation: a table needs one line that is the method"):
            task_record(task, questions, wrong, warm(questions), "seen", 0)
