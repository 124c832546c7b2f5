"""The API reference: one page per subpackage, made from the docstrings of its modules."""

import ast
from pathlib import Path

PACKAGE = "recsys_lora"
INTRODUCTION = [
    "# Package",
    "",
    "Every public class and function with its docstring, by subpackage. Shapes use the same letters everywhere: B",
    "batch, T tokens, H hidden, R rank, K queries, D collaborative width, U users, N items. Most programs need",
    "`recsys_lora.compose` ([config](config.md)), `recsys_lora.run_config` ([pipeline](pipeline.md)), and",
    "`recsys_lora.load`, which returns a `Recommender` ([recommender](recommender.md)).",
    "",
]


def subpackages(root: Path) -> dict[str, list[str]]:
    """Return the modules with public definitions, by subpackage; those at the top level only start commands."""
    found: dict[str, list[str]] = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if len(parts) > 2 and parts[-1] != "__init__" and _defines(path):
            found.setdefault(parts[1], []).append(".".join(parts))
    return found


def about(subpackage: str, root: Path) -> str:
    """Return the first line of a subpackage's docstring."""
    told = ast.get_docstring(ast.parse((root / PACKAGE / subpackage / "__init__.py").read_text(encoding="utf-8")))
    return (told or "").partition("\n")[0]


def page(subpackage: str, modules: list[str], root: Path) -> str:
    """Return the page of a subpackage as Markdown; mkdocstrings inserts the docstrings."""
    parts = [f"# {PACKAGE}.{subpackage}", "", about(subpackage, root), ""]
    for module in modules:
        parts += [f"## {module.removeprefix(f'{PACKAGE}.')}", "", f"::: {module}", "    options:"]
        parts += ["      show_root_heading: false", "      show_root_toc_entry: false", ""]
    return "\n".join(parts)


def _defines(path: Path) -> bool:
    """Return whether a module defines a name that does not begin with _."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return any(isinstance(node, kinds) and not node.name.startswith("_") for node in body)
