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
# # Reading a sweep
#
# A sweep runs the same command with several values for some overrides. It writes one folder per job and one file for
# all of them, `sweep.csv`. This notebook runs a small ablation of CoRA, summarises it in a table and plots, and reads
# the same numbers from the files that Weights & Biases wrote offline.
#
# **The numbers mean nothing here:** the data are synthetic, and the language model is tiny and has random weights. A
# real sweep is read the same way: put its folder in place of `sweep` below.

# %%
BUDGET, LLM = "smoke", "tiny"  # the real model: "demo", "smollm2_135m" (fetches 270 MB; takes an hour or two)

# %%
import json
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from helpers import film_club, wandb_records, work_folder

work = work_folder()
club = film_club()
club.interactions.write_csv(work / "ratings.csv")
club.items.write_csv(work / "films.csv")

# %% [markdown]
# ## 1. Run it
#
# Two ways to generate the weights (the paper's queries, and one linear map) and three seeds give six jobs, run one
# after the other. The collaborative filtering (CF) model is fitted once per seed.
# `logger=wandb logger.wandb.mode=offline` needs no account: it writes files into each job's folder.
# `stage.force=[method]` trains again even if a trained method is cached, so that every job has a curve.

# %%
overrides = [
    "model=cora",
    "model.generator.kind=queries,direct",
    "seed=1,2,3",
    "cf=mf",
    f"llm={LLM}",
    f"budget={BUDGET}",
    "data=table",
    "data.name=films",
    "data.interactions=ratings.csv",
    "data.items=films.csv",
    "data.wording.item=film",
    "data.wording.items=films",
    "logger=wandb",
    "logger.wandb.mode=offline",
    "stage.force=[method]",
    "hydra.sweep.dir=sweep",
]
if BUDGET == "smoke":
    overrides += ["data.train_rows=240", "data.valid_rows=100", "data.test_rows=200", "trainer.max_epochs=3"]
    overrides += ["cf.trainer.max_epochs=20", "model.optimizer.lr=0.003", "evaluation.zero_shot=false"]
    overrides += ["evaluation.shuffled_rows=0", "evaluation.draws=100", "trainer.log_every_n_steps=5"]
command = [sys.executable, "-m", "recsys_lora.run", "-m", *overrides]
done = subprocess.run(command, cwd=work, capture_output=True, text=True)
assert done.returncode == 0, done.stderr
sweep = work / "sweep"
sorted(path.name for path in sweep.iterdir() if not path.name.startswith("."))

# %% [markdown]
# ## 2. The file of all jobs
#
# One line per job: its overrides, how it ended, and every metric on all, warm and cold rows. A failed job keeps its
# line, with the reason, so look at `status` first.

# %%
jobs = pl.read_csv(sweep / "sweep.csv")
varied = ["model.generator.kind", "seed"]
print("status:", dict(jobs["status"].value_counts().iter_rows()))
jobs.select(*varied, "ctr/rows", "ctr/auc", "ctr/uauc", "ctr/log_loss", "seconds/method")

# %% [markdown]
# ## 3. A table
#
# Mean and standard deviation over seeds. Three seeds give only a rough idea of the spread, and all jobs share one split
# and one set of test rows, whose variance this spread does not include.

# %%
settings, METRICS = ["model.generator.kind"], ("ctr/auc", "ctr/uauc", "ctr/log_loss")
summary = (
    jobs.group_by(settings)
    .agg(
        pl.len().alias("seeds"),
        *(pl.col(name).mean().round(4).alias(f"{name} mean") for name in METRICS),
        *(pl.col(name).std().round(4).alias(f"{name} sd") for name in METRICS),
    )
    .sort(settings)
)
summary.select(*settings, "seeds", *(f"{name} {what}" for name in METRICS for what in ("mean", "sd")))

# %% [markdown]
# ## 4. Plots
#
# Left: a point for every job, and a bar for the mean of every setting. Showing the points is a reminder that there are
# only three seeds. Right: the difference within each seed, since jobs with the same seed share the CF model; a
# difference that changes sign from seed to seed is no difference.

# %%
KINDS = {"queries": "tab:blue", "direct": "tab:orange"}
by_kind = {kind: jobs.filter(pl.col("model.generator.kind") == kind).sort("seed") for kind in KINDS}
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
left.bar(list(by_kind), [own["ctr/auc"].mean() for own in by_kind.values()], color="lightgrey", label="mean over seeds")
for place, (kind, own) in enumerate(by_kind.items()):
    left.scatter([place] * len(own), own["ctr/auc"], color=KINDS[kind], zorder=3, label=f"a seed of {kind}")
left.axhline(0.5, color="grey", linestyle=":", label="chance")
left.set(
    xlabel="model.generator.kind", ylabel="test AUC", ylim=(jobs["ctr/auc"].min() - 0.04, jobs["ctr/auc"].max() + 0.08)
)
left.legend(fontsize=8)
difference = (by_kind["queries"]["ctr/auc"] - by_kind["direct"]["ctr/auc"]).to_list()
right.axhline(0, color="grey", linestyle=":")
right.bar([str(seed) for seed in by_kind["queries"]["seed"]], difference, color="tab:green")
right.set(xlabel="seed", ylabel="test AUC, queries minus direct")
plt.show()

# %% [markdown]
# Training curves are in each job's `metrics.csv`.

# %%
figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
for job, kind, seed in jobs.select("job", *varied).iter_rows():
    curve = pl.read_csv(sweep / str(job) / "metrics.csv", infer_schema_length=None)
    points = curve.select("step", "valid/auc").drop_nulls()
    label = kind if seed == 1 else None
    axis.plot(points["step"], points["valid/auc"], color=KINDS[kind], marker=".", label=label)
axis.set(xlabel="optimiser step", ylabel="validation AUC")
axis.legend(fontsize=8)
plt.show()

# %% [markdown]
# ## 5. Is a difference real?
#
# Seeds are one source of randomness, test users the other. `python -m recsys_lora.compare` takes run folders, checks
# that they were tested on the same rows, and adds intervals and paired tests over users to the differences from the row
# that `--baseline` names ([docs/comparing.md](../docs/comparing.md)).

# %%
command = [sys.executable, "-m", "recsys_lora.compare", "sweep", "--baseline", "cora-mf, kind=direct"]
print(subprocess.run(command, cwd=work, capture_output=True, text=True, check=True).stdout)

# %% [markdown]
# ## 6. The same from W&B's files
#
# An offline run is a folder `wandb/offline-run-*` in the job's folder. `wandb sync` uploads it later; even without an
# account you can read its `.wandb` file, which holds the config, every logged step and the final summary as records.

# %%
from wandb.proto.wandb_internal_pb2 import Record


def read_offline(folder):
    """Return the group, the logged values {name: [(step, value)]} of an offline run."""
    group, logged = None, {}
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for payload in wandb_records(file):
            record = Record.FromString(payload)
            if record.HasField("run"):
                group = record.run.run_group
            items = record.history.item
            values = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
            step = values.get("trainer/global_step", values.get("_step"))
            for name, value in values.items():
                if isinstance(value, int | float) and not name.startswith("_"):
                    logged.setdefault(name, []).append((step, value))
    return group, logged


group, logged = read_offline(sweep / "0")
print("group:", group)
print("logged:", ", ".join(sorted(logged)))

# %% [markdown]
# All jobs of a sweep form one group in W&B. The final metrics are logged as `test/...`; they are the same as in
# `sweep.csv`.

# %%
runs = [read_offline(sweep / str(job))[1] for job in jobs["job"]]
from_wandb = [run["test/ctr/auc"][-1][1] for run in runs]
assert np.allclose(from_wandb, jobs["ctr/auc"])
jobs.select("job", *varied, "ctr/auc").with_columns(pl.Series("auc in W&B's file", from_wandb)).head(4)

# %%
figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
for run, (kind, seed) in zip(runs, jobs.select(varied).iter_rows(), strict=True):
    label = kind if seed == 1 else None
    axis.plot(*zip(*run["train/loss"], strict=True), color=KINDS[kind], label=label)
axis.set(xlabel="optimiser step", ylabel="training loss (nats)", title="from W&B's offline files")
axis.legend(fontsize=8)
plt.show()

# %% [markdown]
# ## What next
#
# * Sweeps that failed or were interrupted, in parallel or on a cluster: [docs/sweeps.md](../docs/sweeps.md).
# * A search over settings, on validation metrics only: [docs/tuning.md](../docs/tuning.md).
# * The view in W&B that compares methods: [docs/wandb.md](../docs/wandb.md).
