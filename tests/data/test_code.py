"""Which code a data set's key depends on."""

import re
from pathlib import Path

import recsys_lora.data
from recsys_lora.data.code import MAKERS

FOLDER = Path(recsys_lora.data.__file__).parent
IMPORT = re.compile(r"^from recsys_lora\.data(?:\.(\w+))? import (.*)", re.MULTILINE)
LOADS = {"code", "prepared", "sources", "readers"}
"""What `prepare` imports to name, load and look for files, not to make tables; all readers count anyway."""


def imported(name: str) -> set[str]:
    found = set()
    for module, names in IMPORT.findall((FOLDER / f"{name}.py").read_text()):
        found |= {module} if module else {part.strip() for part in names.split(",")}
    return found


def test_every_module_that_tables_go_through_counts():
    assert all((FOLDER / f"{name}.py").is_file() for name in MAKERS)
    for name in MAKERS:
        assert imported(name) <= {*MAKERS, *LOADS}, name
