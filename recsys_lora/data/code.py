"""A checksum of the code that prepares data, so that tables made by older code are not reused."""

import ast
import functools
import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

MAKERS = ("engine", "filters", "negatives", "numbering", "order", "prepare", "published", "schema", "split", "summary")
"""The modules of this package that make tables, besides all readers."""


def code_checksum(objects: Iterable[object]) -> str:
    """Return 16 hex digits of the code that makes tables, without comments and docstrings.

    Args:
        objects: a reader and a split; their modules are included, wherever they are.
    """
    here = Path(__file__).parent
    files = {here / f"{name}.py" for name in MAKERS} | set((here / "readers").glob("*.py"))
    for thing in objects:
        file = getattr(sys.modules.get(type(thing).__module__), "__file__", None)
        files |= {Path(file)} if file else set()
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.name):
        digest.update(f"{path.name} {_meaning(path.read_text(encoding='utf-8'))}\n".encode())
    return digest.hexdigest()[:16]


@functools.lru_cache(maxsize=128)  # a sweep calls it for each of its jobs
def _meaning(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            del body[0]
    return ast.dump(tree)
