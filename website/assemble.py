"""Assembles the pages of the site in one folder, with the navigation."""

import shutil
from pathlib import Path
from typing import Any

import nbformat
import yaml
from nbconvert import MarkdownExporter

from recsys_lora.utils.files import atomic_folder
from website import api, configuration
from website.contents import Entry, Section, sections
from website.links import Rewriter
from website.llms import FILE as LLMS
from website.llms import llms
from website.places import FOLDERS, ROOT, notebooks, pages

CONFIG, STYLE = "mkdocs.yml", "site.css"
Nav = list[dict[str, Any]]


def assemble(folder: Path, root: Path = ROOT) -> Path:
    """Write the pages, and the config that builds them.

    Args:
        folder: target folder; replaced if it exists.
        root: root of the repository.

    Returns:
        The path of the config.

    Raises:
        ValueError: a link is broken, or the contents cannot be parsed.
    """
    listed = sections(root)
    with atomic_folder(folder) as made:
        target = made / "pages"
        rewriter = Rewriter(root, {**pages(root), **notebooks(root)})
        below = {
            "conf": _configuration(target, root),
            "recsys_lora": _api(target, root),
            "notebooks": _notebooks(target, root, rewriter),
        }
        _written(target, root, rewriter)
        _write(target / LLMS, llms(listed, _on_the_site))
        shutil.copyfile(root / "website" / STYLE, target / STYLE)
        config = yaml.safe_load((root / CONFIG).read_text(encoding="utf-8"))
        config["nav"] = [{"Home": "index.md"}, *navigation(listed, pages(root), below)]
        config["plugins"][1]["mkdocstrings"]["handlers"]["python"]["paths"] = [str(root)]
        _write(made / CONFIG, yaml.safe_dump(config, sort_keys=False))
    return folder / CONFIG


def navigation(listed: list[Section], of: dict[str, str], below: dict[str, Nav]) -> Nav:
    """Return the navigation: the sections of the contents; an entry for a folder contains its pages."""

    def one(entry: Entry) -> dict[str, Any]:
        if entry.place in FOLDERS:
            return {entry.title: [FOLDERS[entry.place], *below[entry.place]]}
        return {entry.title: of[entry.place]}

    return [{section.title: [one(entry) for entry in section.entries]} for section in listed]


def _written(target: Path, root: Path, rewriter: Rewriter) -> None:
    """Write the handwritten pages, and the files that pages link to."""
    for place, at in pages(root).items():
        _write(target / at, rewriter.rewrite((root / place).read_text(encoding="utf-8"), place, at))
    for asset in sorted(rewriter.linked.assets):
        copy = target / asset.removeprefix("docs/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / asset, copy)
    for source in sorted(rewriter.linked.sources):
        text = (root / source).read_text(encoding="utf-8")
        language = Path(source).suffix.removeprefix(".")
        _write(target / f"source/{source}.md", f"# {source}\n\n````{language}\n{text.rstrip()}\n````\n")


def _configuration(target: Path, root: Path) -> Nav:
    """Write the reference of conf/."""
    nav: Nav = []
    lines = []
    for group, files in configuration.groups(root / "conf").items():
        name = f"{group.replace('/', '-')}.md"
        _write(target / "configuration" / name, configuration.page(root / "conf", group, files))
        nav.append({group: f"configuration/{name}"})
        lines.append(f"* [`{group}`]({name}): {configuration.offered(root / 'conf', group)}")
    _write(target / "configuration" / "index.md", "\n".join([*configuration.INTRODUCTION, *lines, ""]))
    return nav


def _api(target: Path, root: Path) -> Nav:
    """Write the reference of the package."""
    nav: Nav = []
    lines = []
    for name, modules in api.subpackages(root).items():
        _write(target / "api" / f"{name}.md", api.page(name, modules, root))
        nav.append({name: f"api/{name}.md"})
        lines.append(f"* [{name}]({name}.md): {api.about(name, root)}")
    _write(target / "api" / "index.md", "\n".join([*api.INTRODUCTION, *lines, ""]))
    return nav


def _notebooks(target: Path, root: Path, rewriter: Rewriter) -> Nav:
    """Write the notebooks with their stored outputs."""
    nav: Nav = []
    for place, at in notebooks(root).items():
        notebook = nbformat.read(root / place, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = rewriter.rewrite(cell.source, place, at)
        text, resources = MarkdownExporter().from_notebook_node(notebook)
        for name, content in resources["outputs"].items():
            text = text.replace(f"({name})", f"({Path(at).stem}_{name})")
            path = (target / at).parent / f"{Path(at).stem}_{name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        _write(target / at, text)
        title = next(line.removeprefix("# ") for line in text.splitlines() if line.startswith("# "))
        nav.append({title: at})
    lines = [f"* [{title}]({Path(at).name})" for entry in nav for title, at in entry.items()]
    about = "Each is a plain script beside its notebook in `notebooks/`; `make notebooks` runs them all."
    _write(target / "notebooks" / "index.md", "\n".join(["# Notebooks", "", about, "", *lines, ""]))
    return nav


def _on_the_site(place: str) -> str:
    """Return the path on the site of a page of the table of contents."""
    return (FOLDERS.get(place) or pages()[place]).removesuffix(".md") + ".html"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
