"""What the notebooks share: a made film club, a place for files, and a reader of the files of offline W&B runs."""

import struct
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from IPython.utils.capture import capture_output

GENRES = {
    "space": ("Comet", "Orbit", "Nebula", "Rocket", "Saturn", "Meteor"),
    "sea": ("Harbour", "Anchor", "Lagoon", "Tide", "Sailor", "Reef"),
    "court": ("Verdict", "Witness", "Jury", "Appeal", "Trial", "Oath"),
    "kitchen": ("Recipe", "Pastry", "Supper", "Spice", "Oven", "Orchard"),
}
ADJECTIVES = ("Silent", "Golden", "Broken", "Distant", "Little", "Midnight", "Last", "Secret")
SECONDS_A_DAY = 86_400

warnings.filterwarnings("ignore")  # of libraries, about this environment


class Club(NamedTuple):
    """A made film club.

    Attributes:
        interactions: user_id, item_id, rating (1 to 5), timestamp (seconds), review, summary.
        items: item_id, title, genre.
        likes: each user's genres.
    """

    interactions: pl.DataFrame
    items: pl.DataFrame
    likes: dict[str, set[str]]


def film_club(users: int = 60, rated: int = 40, films_a_genre: int = 20, seed: int = 0) -> Club:
    """Make a film club in which everybody likes two of four genres, nine times of ten.

    Args:
        users: members.
        rated: films that each of them has rated, one a day.
        films_a_genre: films of each genre.
        seed: decides everything.
    """
    random = np.random.default_rng(seed)
    names = [(genre, f"The {a} {noun}") for genre, nouns in GENRES.items() for noun in nouns for a in ADJECTIVES]
    chosen = [
        names[i]
        for genre in GENRES
        for i in random.permutation([n for n, (g, _) in enumerate(names) if g == genre])[:films_a_genre]
    ]
    films = [(f"f{number}", title, genre) for number, (genre, title) in enumerate(chosen)]
    items = pl.DataFrame(films, ["item_id", "title", "genre"], orient="row")
    likes = {f"u{user}": set(map(str, random.permutation(list(GENRES))[:2])) for user in range(users)}
    rows = []
    for user, genres in likes.items():
        for day, film in enumerate(random.permutation(len(chosen))[:rated]):
            genre, _ = chosen[film]
            liked = (genre in genres) == (random.random() < 0.9)
            rating = float(random.choice([4, 5] if liked else [1, 2, 3]))
            summary = f"{'Lovely' if liked else 'Dull'} {genre} film"
            review = f"{summary}. {'I would see it again.' if liked else 'I left before the end.'}"
            rows.append((user, f"f{film}", rating, 1_700_000_000 + SECONDS_A_DAY * day, review, summary))
    columns = ["user_id", "item_id", "rating", "timestamp", "review", "summary"]
    return Club(pl.DataFrame(rows, columns, orient="row"), items, likes)


def work_folder() -> Path:
    """Return a new temporary folder for tables and runs."""
    return Path(tempfile.mkdtemp(prefix="recsys_lora_"))


def quiet() -> capture_output:
    """Return a context in which progress and tables stay off the page."""
    return capture_output(stderr=False)


def wandb_records(path: Path) -> Iterator[bytes]:
    """Yield the records of a .wandb file as serialised protocol buffers.

    The file is LevelDB's log after seven bytes of W&B's own: blocks of 32 KiB, in them records with a header of
    checksum, length and kind (1 whole, 2 first part, 3 middle, 4 last).
    """
    block, content = 32_768, path.read_bytes()
    position, parts = 7, b""
    while position + 7 <= len(content):
        if (left := block - position % block) < 7:  # a header never crosses a block
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        parts += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            yield parts
            parts = b""
