"""A text-only method and a CF model stacked by logistic regression: the baseline for combining them.

    python benchmarks/_text_stack.py row=tallrec data=ml_1m data.root=FOLDER --cf row=mf data=ml_1m data.root=FOLDER

Overrides of `recsys_lora.run` for a text method, and after `--cf` for a CF model on the same rows; trained models are
reused. The features of the regression are the two scores; it is fitted on the validation questions (`data.valid_rows`).
AUC and UAUC are of the test questions.
"""

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import recsys_lora
from recsys_lora.evaluation.ranking import auc, uauc
from recsys_lora.methods.answering import Answering


def main(argv: Sequence[str] | None = None) -> None:
    """Print one line each for the CF model, the text method and the regression on both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="+", help="overrides of the text method")
    parser.add_argument("--cf", nargs="+", required=True, help="overrides of the CF model")
    asked = parser.parse_args(argv)
    config = recsys_lora.compose(*asked.text, "test=false")
    text = recsys_lora.run_config(config)
    encoder = recsys_lora.run_config(recsys_lora.compose(*asked.cf, "test=false")).collaborative
    assert text.method is not None
    assert encoder is not None
    answer = Answering(text.method.module, text.method.datamodule)
    questions = {
        "valid": text.method.datamodule.questions("ctr", "valid", config.data.valid_rows),
        "test": text.method.datamodule.questions("ctr", "test", config.data.test_rows),
    }
    scores: dict[str, NDArray[np.float64]] = {}
    for split, some in questions.items():
        rows = text.data.rows(split)  # type: ignore[arg-type]
        place = {number: index for index, number in enumerate(rows.row.tolist())}
        own = rows.take(np.array([place[number] for number in some.row.tolist()]))
        scores[split] = np.column_stack([encoder.score(text.data, own), answer("ctr", some)])
    both = make_pipeline(StandardScaler(), LogisticRegression()).fit(scores["valid"], questions["valid"].label)
    test = questions["test"]
    lines = {
        encoder.name: scores["test"][:, 0],
        text.method.module.name: scores["test"][:, 1],
        "both": both.decision_function(scores["test"]),
    }
    for name, score in lines.items():
        print(f"{name:12} {auc(test.label, score):.4f} {uauc(test.user, test.label, score)[0]:.4f}")
    print("weights, in standard deviations:", *(f"{weight:.2f}" for weight in both[-1].coef_[0]))


if __name__ == "__main__":
    main()
