"""Stage 1: raw files become one prepared data set, cached by the content of the files and of the options."""

import logging
import shutil
from pathlib import Path

from recsys_lora.config.edge import build
from recsys_lora.config.record import PreparationConfig, RunConfig
from recsys_lora.data.negatives import Negatives
from recsys_lora.data.prepare import check_target, drop_records, prepare, prepare_key
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


def prepare_stage(config: RunConfig | PreparationConfig, store: ArtifactStore, notes: bool = True) -> PreparedData:
    """Return the prepared data set that `data` describes, from the cache where it is there.

    Args:
        config: the run's.
        store: the cache.
        notes: log what was dropped and found odd, where the data set is made now.

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
    if notes and not artifact.reused:
        for drop in data.manifest["dropped"]:
            log.info("%s: dropped %s rows: %s", config.data.name, f"{drop['rows']:,}", drop["reason"])
        for remark in data.manifest["remarks"]:
            count = f" ({remark['count']:,})" if remark["count"] else ""
            log.info("%s: %s%s", config.data.name, remark["text"], count)
    return data


def run_preparation(config: PreparationConfig) -> None:
    """Prepare, print the tables, copy them to `out` where it is named."""
    out = Path(config.out) if config.out else None
    if out is not None:
        check_target(out)
    store = ArtifactStore(home() / STORE, frozenset(config.stage.force))
    data = prepare_stage(config, store, notes=False)  # the summary has them
    _print_summary(data, config.checksums)
    if out is not None:
        with atomic_folder(out) as folder:
            for name in (INTERACTIONS, ITEMS, USERS, MANIFEST):
                shutil.copy2(data.folder / name, folder / name)
        log.info("written to %s", out)


def _print_summary(data: PreparedData, checksums: bool) -> None:
    """Print one table of the splits and one of what was dropped and remarked."""
    title = f"{data.manifest['name']}: {counted(data.num_users, 'user')}, {counted(data.num_items, 'item')}"
    records = data.manifest["splits"]  # the first column is that of their names
    heads = [column.replace("_", " ") for column in records[0]]
    cells = [
        [f"{value:,}" if isinstance(value, int) else str(value) for value in record.values()] for record in records
    ]
    screen = console()
    screen.print(fitted(title, heads, cells, screen.width))
    for record in drop_records(data):
        count = "" if record["count"] is None else f"{record['count']:,}"
        say(f"{count:>12}  {record['what']}")
    if checksums:
        for split in SPLITS:
            say(f"sha256 {split:<5} {checksum(data.rows(split), data.history)}")
