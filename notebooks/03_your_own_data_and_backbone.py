# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own data and your own backbone
#
# You need a table with one row per rating, a table with one row per item, and a causal language model in a folder or on
# the Hugging Face Hub. No code is needed, only overrides. The columns and options are listed in
# [docs/adding_a_dataset.md](../docs/adding_a_dataset.md).
#
# **The numbers mean nothing here:** the tables are synthetic, and the language model of this notebook is tiny and has
# random weights.

# %%
BUDGET = "smoke"  # with a real model in the folder of section 5: "demo" (takes minutes)

# %%
import gzip
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
import torch
from helpers import film_club, quiet, work_folder
from IPython.display import Markdown

import recsys_lora
from recsys_lora.config.paths import options
from recsys_lora.data.prepared import PreparedData
from recsys_lora.llm.tiny import TinySource
from recsys_lora.utils.errors import UserError

work = work_folder()

# %% [markdown]
# ## 1. Two tables
#
# Suppose a shop exports its orders with its own column names, dates instead of timestamps, and a semicolon between the
# fields. That is fine: column names, time format and separator are overrides.

# %%
club = film_club()
orders = club.interactions.select(
    pl.col("user_id").alias("customer"),
    pl.col("item_id").alias("sku"),
    pl.col("rating").alias("stars"),
    pl.from_epoch("timestamp").dt.strftime("%Y-%m-%d").alias("day"),
)
orders.write_csv(work / "orders.csv", separator=";")
club.items.rename({"item_id": "sku", "title": "name"}).write_csv(work / "films.csv", separator=";")
print(*(work / "orders.csv").read_text().splitlines()[:4], sep="\n")
print(*(work / "films.csv").read_text().splitlines()[:4], sep="\n")

# %%
table = [
    "data=table",
    "data.name=shop",
    f"data.interactions={work / 'orders.csv'}",
    f"data.items={work / 'films.csv'}",
    "data.columns.user_id=customer",
    "data.columns.item_id=sku",
    "data.columns.rating=stars",
    "data.columns.timestamp=day",
    "data.columns.title=name",
    "data.reader.separator=';'",  # quoted: a semicolon means something to Hydra
    "data.reader.time=iso",
    "data.positive=4",
    "data.wording.item=film",
    "data.wording.items=films",
]
run = [*table, "cf=mf", f"budget={BUDGET}", "data.train_rows=200", "data.test_rows=200", "evaluation.draws=100"]

# %% [markdown]
# ## 2. What was made of them
#
# `row=mf` runs no language model, so it is a quick check of the data: the tables are read, split and numbered, and a
# collaborative filtering (CF) model is fitted. (`python -m recsys_lora.prepare data=table ...` does only the first
# part.)

# %%
with quiet():
    outcome = recsys_lora.run_config(recsys_lora.compose("row=mf", *run, folder=work / "mf"))
data: PreparedData = outcome.data
print(f"{data.num_users} users, {data.num_items} items, {len(data.interactions)} rows")
print("dropped:", data.manifest["dropped"])
counts = data.interactions.group_by("split").agg(pl.len().alias("rows"), pl.col("label").mean().alias("share liked"))
counts.sort("rows")

# %% [markdown]
# ## 3. The split
#
# `user_time`, the default, takes each user's first 80 % for training. Other rules answer other questions:
# `leave_last_out` tests each user's last row, and `global_time` cuts at two points in time for all users, so that
# nothing from the future is known. The plot shows which rows go where.

# %%
SPLITS = ["user_time", "leave_last_out", "global_time"]
figure, axes = plt.subplots(1, len(SPLITS), figsize=(10, 3.2), sharey=True, layout="constrained")
for axis, split in zip(axes, SPLITS, strict=True):
    config = recsys_lora.compose("row=mf", *run, f"data/split={split}", "test=false", folder=work / split)
    with quiet():
        found = recsys_lora.run_config(config).data.interactions
    days = (found["timestamp"] - found["timestamp"].min()) / 86_400
    for name, colour in (("train", "tab:blue"), ("valid", "tab:orange"), ("test", "tab:red")):
        mask = found["split"] == name
        label = f"{name}, {mask.sum()} rows"
        axis.scatter(days.filter(mask), found["user"].filter(mask), s=2, color=colour, label=label)
    axis.set(title=split, xlabel="time (days)")
    axis.legend(fontsize=7, loc="upper left", markerscale=3)
axes[0].set(ylabel="user number")
plt.show()

# %% [markdown]
# ## 4. Mistakes are answered in one line
#
# For a missing column, a broken row or a mistyped name, the message says what is wrong, where, and how to fix it. In
# Python it is a `UserError`; on the command line it is the only line printed.


# %%
def said(*overrides):
    try:
        with quiet():
            recsys_lora.run_config(recsys_lora.compose(*overrides, folder=work / "mistake"))
    except UserError as error:
        return str(error).replace(f"{work}/", "")
    return "no mistake"


seventh = pl.int_range(pl.len()) == 6
broken = orders.with_columns(stars=pl.when(seventh).then(pl.lit("five")).otherwise(pl.col("stars").cast(str)))
with gzip.open(work / "broken.csv.gz", "wt") as file:
    file.write(broken.write_csv(separator=";"))

print(said("row=mf", *run, "data.columns.rating=points"), "\n")
print(said("row=mf", *run, f"data.interactions={work / 'broken.csv.gz'}"), "\n")
print(said("row=mf", *run, "data/split=user_tiem"), "\n")
print(said("row=mf", *run, "data.train_rows=many"))

# %% [markdown]
# ## 5. A backbone of your own, in a folder
#
# `llm=folder llm.path=FOLDER` accepts any causal language model as written by transformers' `save_pretrained`: a
# config, weights and a tokenizer. Here we save the tiny random model to have one.

# %%
folder = work / "my-llama"
tiny = TinySource().load(texts=[title for title in data.titles if title], device=torch.device("cpu"))
tiny.model.save_pretrained(folder)
tiny.tokenizer.save_pretrained(folder)
sorted(path.name for path in folder.iterdir())

# %%
more = ["trainer.max_epochs=2"] if BUDGET == "smoke" else []
config = recsys_lora.compose("model=cora", *run, *more, "llm=folder", f"llm.path={folder}", folder=work / "cora")
with quiet():
    outcome = recsys_lora.run_config(config)
Markdown((work / "cora" / "table.md").read_text())

# %% [markdown]
# The rows of that table, with their 95 % intervals. With random weights and 200 training rows, wide intervals around
# chance are to be expected; among this many table rows, one or two miss it by chance alone.

# %%
task = outcome.metrics["tasks"]["ctr"]
lines = [line for line in task["lines"] if not line["sample"]]
values = np.array([line["metrics"]["auc"]["value"] for line in lines])
low, high = np.array([line["metrics"]["auc"]["interval"] for line in lines]).T
figure, axis = plt.subplots(figsize=(6.5, 2.6), layout="constrained")
axis.errorbar(values, range(len(lines)), xerr=[values - low, high - values], fmt="o", capsize=3)
axis.axvline(0.5, color="grey", linestyle=":", label="chance")
axis.set_yticks(range(len(lines)), [line["name"] for line in lines])
axis.set(xlabel=f"AUC on {task['rows']} test rows, 95 % interval")
axis.invert_yaxis()
axis.legend()
plt.show()

# %% [markdown]
# The run's folder contains all its outputs.

# %%
sorted(str(path.relative_to(work / "cora")) for path in Path(work / "cora").rglob("*") if path.is_file())

# %% [markdown]
# ## 6. A backbone from the hub
#
# A Hub id is enough; add a commit as `llm.revision` to make the run repeatable. `llm.dtype=bfloat16` and
# `llm.gradient_checkpointing=true` reduce the memory that a large model needs; `llm.chat_template=true` wraps prompts
# as an instruction-tuned model expects. This cell only composes the config; nothing is downloaded.

# %%
config = recsys_lora.compose(
    "model=cora", *run, "llm=hub", "llm.name=Qwen/Qwen2.5-1.5B-Instruct", "llm.dtype=bfloat16", "llm.chat_template=true"
)
print("named choices:", ", ".join(options("llm")))
config.llm

# %% [markdown]
# The same from a shell:
#
# ```bash
# python -m recsys_lora.run model=cora data=table data.interactions=orders.csv data.items=films.csv \
#   llm=hub llm.name=Qwen/Qwen2.5-1.5B-Instruct llm.dtype=bfloat16 llm.chat_template=true
# ```
#
# ## What next
#
# * Your own data format is one reader and one yaml: [docs/adding_a_dataset.md](../docs/adding_a_dataset.md).
# * Your own method is one class and one yaml: [docs/adding_a_method.md](../docs/adding_a_method.md).
