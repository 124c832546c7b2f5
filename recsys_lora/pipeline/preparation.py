"""Stage 1: turn raw files into a prepared data set, cached by the contents of the files and the options."""

import logging
import shutil
from pathlib import Path

from recsys_lora.config.edge import build
from recsys_lora.config.record import PreparationConfig, RunConfig
from recsys_lora.data.negatives import Negatives
from recsys_lora.data.prepare import check_target, notes, prepare, prepare_key
from recsys_lora.data.prepared import INTERACTIONS, ITEMS, MANIFEST, USERS, PreparedData
from recsys_lora.data.rows import checksum
from recsys_lora.data.schema import SPLITS
from recsys_lora.pipeline.artifact_paths import STORE
from recsys_lora.pipeline.artifacts import ArtifactStore
from recsys_lora.report.terminal import fitted
from recsys_lora.utils.console import console, say
from recsys_lora.utils.files import atomic_folder, home
from recsys_lora.utils.words import counted

log = logging.getLogger(__name__)


def prepare_stage(config: RunConfig | PreparationConfig, store: ArtifactStore, verbose: bool = True) -> PreparedData:
    """Return the data set that `data` describes, cached if possible; if verbose, log what its preparation dropped.

    Raises:
        UserError: raw files are missing or cannot be read.
    """
    reader, split = build(config.data.reader, "data.reader"), build(config.data.split, "data.split")
    options = config.data.deciding("prepare")
    if config.data.negatives is not None:
        options["negatives"] = Negatives(**options["negatives"])
    depends = {"content": prepare_key(reader, split, options)}
    artifact = store.get(
        "prepare", config.data.name, depends, lambda folder: prepare(reader, split, out=folder, **options)
    )
    data = PreparedData.load(artifact.folder, config.data.titles)
    if verbose and not artifact.reused:
        for note in notes(data):
            log.info("%s: %s", config.data.name, note)
    return data


def run_preparation(config: PreparationConfig) -> None:
    """Prepare a data set, print a summary, copy its tables to `out` if given."""
    out = Path(config.out) if config.out else None
    if out is not None:
        check_target(out)
    store = ArtifactStore(home() / STORE, frozenset(config.stage.force))
    data = prepare_stage(config, store, verbose=False)  # the summary has them
    _print_summary(data, config.checksums)
    if out is not None:
        with atomic_folder(out) as folder:
            for name in (INTERACTIONS, ITEMS, USERS, MANIFEST):
                shutil.copy2(data.folder / name, folder / name)
        log.info("written to %s", out)


def _print_summary(data: PreparedData, checksums: bool) -> None:
    title = f"{data.manifest['name']}: {counted(data.num_users, 'user')}, {counted(data.num_items, 'item')}"
    records = data.manifest["splits"]  # the first column holds their names
    heads = [column.replace("_", " ") for column in records[0]]
    cells = [
        [f"{value:,}" if isinstance(value, int) else str(value) for value in record.values()] for record in records
    ]
    screen = console()
    screen.print(fitted(title, heads, cells, screen.width))
    say(*notes(data))
    if checksums:
        for split in SPLITS:
            say(f"sha256 {split:<5} {checksum(data.rows(split), data.history)}")
