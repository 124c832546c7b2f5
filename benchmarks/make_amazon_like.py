"""Generate a synthetic category of Amazon reviews of any size, with the difficulties of real ones.

    python benchmarks/make_amazon_like.py FOLDER --rows 4000000

Writes `reviews.json.gz` and `meta.json.gz`. Users and items follow Zipf's law; reviews are sorted by item; times are
whole days, so that most rows of a user who reviews several items at once tie; one review in a hundred is a copy, one in
a thousand lacks a value; some titles contain HTML or are missing; and items are Python literals, as in the files of
2014. The numbers of planted defects are in `planted.json`.
"""

import argparse
import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

ROWS_A_CHUNK = 200_000
TEXTS, VOCABULARY = 4_000, 20_000
COPY_EVERY, BROKEN_EVERY = 100, 1_000
DAY = 86_400
FIRST_DAY, LAST_DAY = 14_610, 17_800
"""January 2010 to September 2018; a seventh of the rows is from 2017."""


def make(folder: Path, rows: int, seed: int = 0) -> dict[str, int]:
    """Write both files.

    Returns:
        The number of reviews written, and how many of them are copies or lack a value.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    users, items = max(rows // 8, 10), max(rows // 40, 10)
    planted = {"lines": 0, "copies": 0, "broken": 0}
    texts = sentences(random)
    item_of_rows = np.sort(zipf(random, items, rows))
    with gzip.open(folder / "reviews.json.gz", "wt", compresslevel=1, encoding="utf-8") as file:
        for begin in range(0, rows, ROWS_A_CHUNK):
            item = item_of_rows[begin : begin + ROWS_A_CHUNK]
            for line in reviews(random, item, users, texts, begin, planted):
                file.write(line)
    with gzip.open(folder / "meta.json.gz", "wt", compresslevel=1, encoding="utf-8") as file:
        for item in random.permutation(items):
            file.write(record(int(item)))
    (folder / "planted.json").write_text(json.dumps(planted))
    return planted


def zipf(random: np.random.Generator, size: int, rows: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return `rows` numbers below `size`, with number k in proportion to about 1 / (k + 10)."""
    weight = np.cumsum(1.0 / (np.arange(size) + 10.0))
    return np.searchsorted(weight, random.random(rows) * weight[-1])


def sentences(random: np.random.Generator) -> list[str]:
    """Return review texts of 10 to 80 made-up words, which compress about as badly as real ones."""
    letters = np.array(list("etaoinshrdlucmfwyp"))
    words = ["".join(random.choice(letters, random.integers(2, 9))) for _ in range(VOCABULARY)]
    return [" ".join(words[k] for k in zipf(random, VOCABULARY, random.integers(10, 80))) for _ in range(TEXTS)]


def reviews(
    random: np.random.Generator,
    item: "np.ndarray[tuple[int], np.dtype[np.int64]]",
    users: int,
    texts: Sequence[str],
    first: int,
    planted: dict[str, int],
) -> Iterator[str]:
    """Yield the lines of a chunk of reviews."""
    n = len(item)
    user = zipf(random, users, n)
    # A user's reviews are on few days: ties.
    day = FIRST_DAY + (user * 7919 + random.integers(0, 6, n) * 613) % (LAST_DAY - FIRST_DAY)
    rating = random.choice([1, 2, 3, 4, 5], n, p=[0.05, 0.05, 0.1, 0.2, 0.6])
    text = random.integers(0, len(texts), n)
    for k in range(n):
        when = "null" if (first + k) % BROKEN_EVERY == 5 else str(int(day[k]) * DAY)
        line = (
            f'{{"overall": {rating[k]}.0, "verified": true, "reviewTime": "09 1, 2017", '
            f'"reviewerID": "A{user[k]:011d}", "asin": "{item[k]:010d}", "reviewerName": "N. N.", '
            f'"reviewText": "{texts[text[k]]}", "summary": "Fine", "unixReviewTime": {when}}}\n'
        )
        copies = 1 + ((first + k) % COPY_EVERY == 7)
        planted["lines"] += copies
        planted["copies"] += copies - 1
        planted["broken"] += copies * (when == "null")
        yield from [line] * copies


def record(item: int) -> str:
    """Return an item's line, a Python literal; some titles are HTML, some are missing."""
    fields = {
        "asin": f"{item:010d}",
        "title": f'The Book\'s {item}th "Title" &amp; <i>More</i>' if item % 50 == 1 else f"Book {item}, It's Called",
        "brand": "Somebody",
        "categories": [["Books", f"Subject {item % 30}"]],
        "description": "words " * 30,
    }
    if item % 200 == 3:
        del fields["title"]
    return repr(fields) + "\n"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add `--rows` and `--folder` to a benchmark's parser."""
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--folder", type=Path, help="where the made-up files are kept")


def made(root: Path, count: int) -> tuple[Path, dict[str, int]]:
    """Return the folder of `count` reviews, creating it if missing, and the numbers of planted defects."""
    folder = root / str(count)
    if not (folder / "planted.json").is_file():
        make(folder, count)
    return folder, json.loads((folder / "planted.json").read_text())


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000, help="reviews, without the copies")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    print(make(options.folder, options.rows, options.seed))


if __name__ == "__main__":
    main()
