"""Run the notebooks from their scripts and store outputs and figures: `python notebooks/execute.py [SCRIPT ...]`."""

import argparse
import base64
import io
import time
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

from recsys_lora.utils.files import write_text

HERE = Path(__file__).resolve().parent
SECONDS_A_CELL = 3600


def scripts() -> list[Path]:
    """Return the notebooks' scripts, in their order."""
    return sorted(HERE.glob("[0-9]*.py"))


def executed(script: Path) -> Any:
    """Return the notebook of a script with its outputs; it runs in the script's folder.

    Raises:
        CellExecutionError: a cell raises.
    """
    notebook = jupytext.read(script)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    client = NotebookClient(
        notebook,
        timeout=SECONDS_A_CELL,
        record_timing=False,
        resources={"metadata": {"path": str(script.parent)}},
    )
    client.execute()
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # the same in every execution, so that a diff shows what has changed
    shrink_figures(notebook)
    return notebook


def shrink_figures(notebook: Any) -> None:
    """Store the figures of a notebook with 256 colours each, a third of their size."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                figure = Image.open(io.BytesIO(base64.b64decode(output["data"]["image/png"])))
                small = io.BytesIO()
                figure.convert("RGB").quantize(256).save(small, "PNG", optimize=True)
                output["data"]["image/png"] = base64.b64encode(small.getvalue()).decode()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scripts", nargs="*", type=Path, default=scripts(), help="which ones (all)")
    for script in parser.parse_args().scripts:
        begun = time.monotonic()
        target = script.with_suffix(".ipynb")
        write_text(target, nbformat.writes(executed(script)) + "\n")
        print(f"{target.name}: {target.stat().st_size / 1000:.0f} kB, {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
