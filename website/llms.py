"""llms.txt: an index of the documentation for language models (https://llmstxt.org)."""

from collections.abc import Callable

from website.contents import Section

FILE = "llms.txt"
ABOUT = """\
# recsys_lora

> A framework on Lightning and Hydra that puts collaborative signal into frozen language models: CoRA (low-rank weights
> made of a user's and an item's vectors), CKF (soft tokens and Multi-LoRA for several tasks) and their peers. Every
> data set, encoder, backbone, method and ablation is a config override.

* Install and train: `make demo`, or `pip install -c constraints.txt -e .` and `recsys-lora run experiment=demo`.
* `recsys-lora VERB`: run, prepare, compare, runs, report, recommend, serve, mcp, export, tune; `--help` says more.
* Every value is an override (`model=ckf cf=lightgcn model.rank=8`); `recsys-lora run --help all` lists all, and `conf/`
  holds them with a comment each.
* From Python: `recsys_lora.compose`, `recsys_lora.run_config`, `recsys_lora.build`, `recsys_lora.load`.
"""


def llms(listed: list[Section], at: Callable[[str], str] = str) -> str:
    """Return the index.

    Args:
        listed: the sections of the table of contents.
        at: maps a path in the repository to the link to write.
    """
    parts = [ABOUT]
    for section in listed:
        parts += [f"## {section.title}", ""]
        parts += [f"- [{entry.title}]({at(entry.place)}): {entry.about}" for entry in section.entries] + [""]
    return "\n".join(parts)
