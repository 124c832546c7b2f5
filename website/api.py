"""The reference of the package: a page a room, of the docstrings of its modules."""

import ast
from pathlib import Path

PACKAGE = "recsys_lora"
TOP = "top"
"""The page of the modules that are in no room."""
INTRODUCTION = [
    "# Package",
    "",
    "Every public class and function, by room: what its docstring says. Shapes use the same letters everywhere: B",
    "batch, T tokens, H hidden, R rank, K queries, D collaborative width, U users, N items. Most programs need three",
    "functions, `compose`, `run_config` and `load`, in [top](top.md), and the class `Recommender` in",
    "[recommender](recommender.md).",
    "",
]


def rooms(root: Path) -> dict[str, list[str]]:
    """Return the modules that define something public, by the room (a folder of the package) that they are in."""
    found: dict[str, list[str]] = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[-1] == "__init__" or not _defines(path):
            continue
        found.setdefault(parts[1] if len(parts) > 2 else TOP, []).append(".".join(parts))
    return found


def about(room: str, root: Path) -> str:
    """Return the first line of a room's docstring."""
    folder = root / PACKAGE if room == TOP else root / PACKAGE / room
    told = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    return (told or "").partition("\n")[0]


def page(room: str, modules: list[str], root: Path) -> str:
    """Return the page of a room as Markdown; mkdocstrings puts in what the docstrings say."""
    title = PACKAGE if room == TOP else f"{PACKAGE}.{room}"
    parts = [f"# {title}", "", about(room, root), ""]
    for module in modules:
        parts += [f"## {module.removeprefix(f'{PACKAGE}.')}", "", f"::: {module}", "    options:"]
        parts += ["      show_root_heading: false", "      show_root_toc_entry: false", ""]
    return "\n".join(parts)


def _defines(path: Path) -> bool:
    """Tell whether a module defines something whose name does not begin with _."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return any(isinstance(node, kinds) and not node.name.startswith("_") for node in body)
