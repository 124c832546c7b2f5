"""docs/structure.md lists the packages from top to bottom; imports go downwards only."""

import ast
import re

from tests.documents import ROOT

PACKAGE = ROOT / "recsys_lora"
ORDER = re.findall(r"^\| `(\w+)/` \|", (ROOT / "docs" / "structure.md").read_text(), re.MULTILINE)


def imported(path):
    """Yield the packages of recsys_lora that a file imports from, with the lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            top, _, rest = name.partition(".")
            if top == "recsys_lora" and rest.split(".")[0] in ORDER:
                yield rest.split(".")[0], node.lineno


def test_every_package_is_listed():
    assert sorted(ORDER) == sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def test_packages_import_from_below_alone():
    upwards = [
        f"{path.relative_to(ROOT)}:{line}: {package}"
        for path in PACKAGE.glob("*/**/*.py")
        for package, line in imported(path)
        if ORDER.index(package) < ORDER.index(path.relative_to(PACKAGE).parts[0])
    ]
    assert not upwards
