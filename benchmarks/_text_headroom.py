"""How much years and genres could add to MF, by logistic regression: a check before training a language model.

    python benchmarks/_text_headroom.py data=ml_1m data.root=FOLDER
    python benchmarks/_text_headroom.py data=ml_100k data/split=cold_items --ridge 1e-4

Each regression is fitted on train rows. Its features are MF's logit and information from the title and the items table
(year of release, its distance from those of the history, genres, their overlap with the history's). With one fit, MF
has seen the labels of these rows; with two (`cf.train_share=0.5`) the rows are those that the first fit has not seen. A
last regression adds the products of these features and the user's vector (its first principal components): the gain
possible by reading text differently for each user. The overrides are those of `recsys_lora.run`; the items table needs
the columns `year` and `genres`.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import recsys_lora
from recsys_lora.cf.fit import score_rows
from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.rows import Rows
from recsys_lora.evaluation.ranking import auc, uauc

CF = ("model=cf", "cf=mf", "cf.encoder.biases=true", "cf.encoder.unseen=history", "test=false")
DECADES = (1960, 1970, 1980, 1985, 1990, 1995, 1998)
UNKNOWN_YEAR = 1990
SPLITS = ("train", "valid", "test")
COMPONENTS = 8
"""Principal components of the users' vectors."""


class Text:
    """Features of titles and the items table, by item number.

    Attributes:
        year: (I + 1,) year of release.
        genres: (I + 1, G) genres, 0 or 1.
    """

    def __init__(self, data: PreparedData) -> None:
        self._history = data.history
        self.year = np.full(data.num_items + 1, float(UNKNOWN_YEAR))
        names: dict[str, int] = {}
        pairs = []
        for entry in data.items.iter_rows(named=True):
            self.year[entry["item"]] = entry["year"] or UNKNOWN_YEAR
            pairs += [
                (entry["item"], names.setdefault(name, len(names))) for name in (entry["genres"] or "").split("|")
            ]
        self.genres = np.zeros((data.num_items + 1, len(names)))
        self.genres[tuple(np.array(pairs).T)] = 1

    def of_rows(self, rows: Rows) -> NDArray[np.float64]:
        """Return the features (n, F) of rows."""
        distance, overlap = np.zeros(len(rows)), np.zeros(len(rows))
        for number, (user, item, position) in enumerate(zip(rows.user, rows.item, rows.position, strict=True)):
            if position:
                earlier = self._history.of(user)[:position]
                distance[number] = np.abs(self.year[earlier] - self.year[item]).mean()
                overlap[number] = (self.genres[earlier].mean(axis=0) * self.genres[item]).sum()
        year = self.year[rows.item]
        before = np.stack([year < decade for decade in DECADES], axis=1)
        shared = overlap / np.maximum(1, self.genres[rows.item].sum(axis=1))
        return np.column_stack([year, before, distance, shared, self.genres[rows.item]])


def fitted(
    overrides: Sequence[str], share: float
) -> tuple[dict[str, Rows], dict[str, Any], dict[str, NDArray[np.float64]], Text]:
    """Return the rows of each split, their MF logits, the leading components of their users, and the text features."""
    outcome = recsys_lora.run_config(recsys_lora.compose(*CF, *overrides, f"cf.train_share={share}"))
    data, cf = outcome.data, outcome.collaborative
    assert cf is not None
    part = data if share == 1 else data.with_train_part(share, "rest")
    rows = {"train": part.rows("train"), "valid": data.rows("valid"), "test": data.rows("test")}
    first = cf.first or cf.encoder
    logits = {split: cf.score(data, rows[split]) for split in ("valid", "test")}
    logits["train"] = score_rows(first, rows["train"], data.history)
    vectors = {split: e_u(first if split == "train" else cf.encoder)[rows[split].user] for split in SPLITS}
    reduced = make_pipeline(PCA(COMPONENTS, whiten=True), StandardScaler()).fit(vectors["train"])
    return rows, logits, {split: reduced.transform(own) for split, own in vectors.items()}, Text(data)


def e_u(encoder: Any) -> NDArray[np.float64]:
    """Return MF's vectors of all users."""
    return np.asarray(encoder.users.all().detach().numpy(), dtype=np.float64)


def main(argv: Sequence[str] | None = None) -> None:
    """Print AUC / UAUC of each split, with one fit and with two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="+")
    parser.add_argument("--ridge", type=float, default=0.05, help="inverse strength C of the regressions' penalty")
    asked = parser.parse_args(argv)
    for share in (1.0, 0.5):
        rows, logits, users, text = fitted(asked.overrides, share)
        features = {split: text.of_rows(rows[split]) for split in SPLITS}
        mean = features["train"].mean(axis=0)
        print(f"\nMF fitted on {share:.0%} of the train rows, regressions on {len(rows['train']):,}: AUC / UAUC")
        print(f"{'':32}" + "".join(f"{split:>16}" for split in SPLITS))
        show("MF", logits, rows)
        for name, with_cf, with_users, columns in (
            ("MF and years", True, False, slice(0, 1 + len(DECADES))),
            ("MF, years, genres", True, False, slice(None)),
            ("MF, years, genres, by user", True, True, slice(None)),
            ("years, genres", False, False, slice(None)),
        ):
            given = {
                split: np.column_stack(
                    [logits[split]] * with_cf
                    + [features[split][:, columns]]
                    + [products(features[split] - mean, users[split])] * with_users
                )
                for split in SPLITS
            }
            model = make_pipeline(StandardScaler(), LogisticRegression(C=asked.ridge, max_iter=1000))
            model.fit(given["train"], rows["train"].label)
            show(name, {split: model.decision_function(given[split]) for split in SPLITS}, rows)


def products(features: NDArray[np.float64], users: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each row's products (n, F * D) of its features (n, F) and its user's components (n, D)."""
    return (features[:, :, None] * users[:, None, :]).reshape(len(features), -1)


def show(name: str, scores: dict[str, Any], rows: dict[str, Rows]) -> None:
    """Print one line."""
    cells = []
    for split in SPLITS:
        part = rows[split]
        cells.append(
            f"{auc(part.label, scores[split]):.4f} / {uauc(part.user, part.label, scores[split])[0]:.4f}".rjust(16)
        )
    print(f"{name:32}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
