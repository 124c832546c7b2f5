"""DuckDB for the readers and `prepare`: bounded memory, spilling to a scratch folder, a progress display.

Memory does not grow with the number of rows: what does not fit into `MEMORY` is spilled to the scratch folder, which is
deleted when the engine is closed.
"""

import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from recsys_lora.utils.console import progress
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import disk_errors, temporary_name

MEMORY, THREADS = "1200MB", 8
"""DuckDB's memory limit, and the most threads that share it, as each needs some 125 MB. File buffers and the
interpreter come on top."""
SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_BETWEEN_INTERRUPTIONS = 0.05
SECONDS_BEFORE_SHOWING = 2.0


class Engine:
    """An in-memory database for one preparation.

    Args:
        scratch: an existing folder for spilled rows and unpacked files.
        memory: DuckDB's memory limit.

    Attributes:
        connection: the DuckDB connection.
        scratch: the folder.
    """

    def __init__(self, scratch: Path, memory: str = MEMORY) -> None:
        self.scratch = scratch
        self.connection = duckdb.connect(":memory:")
        self.connection.execute(f"SET memory_limit = {text(memory)}")
        self.connection.execute(f"SET threads = {min(os.cpu_count() or 1, THREADS)}")
        self.connection.execute(f"SET temp_directory = {text(str(scratch / 'spilled'))}")
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute("SET autoinstall_known_extensions = false")
        with contextlib.suppress(
            duckdb.InvalidInputException
        ):  # in a notebook it asks for ipywidgets: no progress then
            self.connection.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")

    def run(self, statement: str, what: str = "", amount: tuple[float, str] = (100, "%")) -> None:
        """Execute a statement.

        Args:
            statement: SQL.
            what: description for the progress display, which appears after a moment; "" shows none.
            amount: the amount of work, and its unit, plural.

        Raises:
            UserError: the disk is full.
        """
        with disk_errors(self.scratch), ThreadPoolExecutor(1) as worker:
            work = worker.submit(self.connection.execute, statement)
            try:
                self._watch(work, what, *amount)
            except BaseException:
                while not work.done():  # interrupting a statement that has yet to begin has no effect
                    self.connection.interrupt()
                    wait([work], timeout=SECONDS_BETWEEN_INTERRUPTIONS)
                raise
            try:
                work.result()
            except duckdb.IOException as error:
                for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
                    if os.strerror(number) in str(error):
                        raise OSError(number, os.strerror(number)) from error
                raise
            except duckdb.OutOfMemoryException as error:
                raise UserError(f"{self.scratch}: {first_line(error)}: make room on this disk and run again") from error

    def _watch(self, work: Any, what: str, total: float, unit: str) -> None:
        """Wait for a statement and show its progress."""
        finished = threading.Event()
        work.add_done_callback(lambda _: finished.set())
        if finished.wait(SECONDS_BEFORE_SHOWING if what else None):
            return
        with progress(what, total, unit) as advance:
            shown = 0.0
            while not finished.wait(SECONDS_BETWEEN_LOOKS):
                done = max(shown, self.connection.query_progress() / 100)
                advance((done - shown) * total, "")
                shown = done
            advance((1 - shown) * total, "")

    def fill(self, table: str, columns: Mapping[str, tuple[str, Sequence[Any]]]) -> None:
        """Create a small table from the SQL type and the values of each column; None is null."""
        arrays = {column: np.array(list(values), dtype=object) for column, (_, values) in columns.items()}
        listed = ", ".join(f"CAST({name(column)} AS {kind}) AS {name(column)}" for column, (kind, _) in columns.items())
        self.connection.register("given", arrays)
        self.connection.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT {listed} FROM given")
        self.connection.unregister("given")

    def delete(self, table: str, condition: str) -> int:
        """Delete the rows of a table that meet a condition, and return how many."""
        self.run(f"DELETE FROM {table} WHERE {condition}")
        changed = self.connection.fetchone()
        return int(changed[0]) if changed else 0

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return self.connection.execute(query).fetchall()

    def value(self, query: str, parameters: Sequence[Any] = ()) -> Any:
        """Return the only value of a query; None if it has no rows."""
        found = self.connection.execute(query, list(parameters)).fetchone()
        return found[0] if found else None

    def count(self, table: str) -> int:
        """Return the number of rows of a table."""
        return int(self.value(f"SELECT count(*) FROM {table}"))

    def columns(self, table: str) -> dict[str, str]:
        """Return a table's columns, in order, with their SQL types."""
        return {name: kind for name, kind, *_ in self.rows(f"DESCRIBE SELECT * FROM {table}")}

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


@contextlib.contextmanager
def engine(beside: Path, memory: str = MEMORY) -> Iterator[Engine]:
    """Open an engine whose scratch folder is next to a path and is deleted at the end of the block."""
    named = beside if beside.suffix == ".tmp" else temporary_name(beside)
    scratch = named.with_name(f"{named.stem}.scratch.tmp")  # swept like other temporary files after a kill
    with disk_errors(scratch):
        scratch.mkdir(parents=True)
    try:
        opened = Engine(scratch, memory)
        try:
            yield opened
        finally:
            opened.close()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def name(column: str) -> str:
    """Quote an identifier."""
    return '"' + column.replace('"', '""') + '"'


def text(value: str) -> str:
    """Quote a string."""
    return "'" + value.replace("'", "''") + "'"


def first_line(error: BaseException) -> str:
    """Return what DuckDB says is wrong, without its advice."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
