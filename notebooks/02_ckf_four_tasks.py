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
# # CKF: four tasks in one model
#
# CKF ([arXiv 2410.20642](https://arxiv.org/abs/2410.20642)) asks one language model several questions about a user:
# whether they would like an item, which of ten is next, how many stars they give, and why. The knowledge of a
# collaborative filtering (CF) model enters as *soft tokens*: vectors in the prompt in place of words, produced by a map
# that is specific to each user. Some of the low-rank updates (Multi-LoRA) are shared by all tasks, others belong to one
# task.
#
# This notebook shows the prompts of the tasks, trains a tiny run on a synthetic film club, reads its tables, and looks
# at the users' maps.
#
# **Look at the plots, not the numbers.** By default the language model is the *tiny* one: two layers with random
# weights. It knows no English, and no number here says anything about CKF on real data (for that, see
# [docs/results.md](../docs/results.md)).

# %%
BUDGET, LLM = "smoke", "tiny"  # the real model: "ckf_short", "smollm2_135m" (fetches 270 MB; takes hours)

# %%
import matplotlib.pyplot as plt
import numpy as np
import polars as pl
import torch
from helpers import film_club, quiet, work_folder
from IPython.display import display

import recsys_lora
from recsys_lora.methods.answering import Answering
from recsys_lora.methods.vectors import last
from recsys_lora.report.flat import tables

work = work_folder()

# %% [markdown]
# ## 1. Data with reviews
#
# Sixty people have rated forty films each and written a line about every one. Everybody likes two of four genres, and
# their ratings follow this taste nine times out of ten. The explanation task learns to write the summaries; data
# without reviews have only the other three tasks.

# %%
club = film_club()
club.interactions.write_csv(work / "ratings.csv")
club.items.write_csv(work / "films.csv")
club.interactions.select("user_id", "item_id", "rating", "summary", "review").head(5)

# %% [markdown]
# ## 2. The config
#
# `recsys_lora.compose` takes the overrides that you would type after `python -m recsys_lora.run`. `tasks=[...]` selects
# the tasks; each has its own config node with its two prompts.

# %%
TASKS = ["ctr", "topk", "rating", "explanation"]
overrides = [
    "model=ckf",
    f"tasks=[{','.join(TASKS)}]",
    "cf=mf",
    f"llm={LLM}",
    f"budget={BUDGET}",
    "data=table",
    "data.name=films",
    f"data.interactions={work / 'ratings.csv'}",
    f"data.items={work / 'films.csv'}",
    "data.wording.item=film",
    "data.wording.items=films",
    "evaluation.draws=100",
]
if BUDGET == "smoke":
    overrides += ["data.train_rows=200", "data.valid_rows=16", "data.test_rows=60", "evaluation.shuffled_rows=60"]
    overrides += ["cf.encoder.dim=16", "cf.trainer.max_epochs=30", "model.optimizer.lr=0.005"]
    overrides += ["trainer.log_every_n_steps=2", "task.explanation.answer_tokens=12"]

config = recsys_lora.compose(*overrides, folder=work / "run")
{key: config.model[key] for key in ("lora", "rank", "shared_targets", "specific_targets")}

# %% [markdown]
# ## 3. Train and test
#
# One call prepares the data, fits the CF model (here matrix factorisation), trains CKF, and answers the test questions
# of every task with everything that its table compares. `stage.force=[method]` trains again even if a trained method is
# cached, so that there are curves.

# %%
with quiet():  # it prints progress and all tables; leave this out to watch
    outcome = recsys_lora.run_config(recsys_lora.compose(*overrides, "stage.force=[method]", folder=work / "run"))

# %% [markdown]
# ## 4. The tables
#
# There is one table per task. Look first at the simple baselines: a model of taste has to beat "always the mean" and
# "the most common text". The other rows are the CF model where it can answer, the frozen language model, CKF on
# text-only prompts, CKF with soft tokens, and CKF with the users' vectors shuffled.
#
# The tables that the run prints and stores in `table.md` also have 95 % intervals and paired differences; these are the
# values only. `sample` marks the rows computed on the sample of questions for which the users' vectors are shuffled.

# %%
with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160):  # all lines and columns
    for columns, lines in tables(outcome.metrics).values():
        table = pl.DataFrame(lines, columns, orient="row", infer_schema_length=None)
        display(table.with_columns(pl.col(pl.Float64).round(3)))

# %% [markdown]
# The curriculum decides what is trained when: first the low-rank updates on text-only prompts (λ near 1), then the map
# on prompts with soft tokens (λ near 0). A part whose weight is close to zero is not computed, so its curve stops early
# or starts late.

# %%
curve = pl.read_csv(work / "run" / "metrics.csv", infer_schema_length=None)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
points = curve.select("step", "train/lambda").drop_nulls()
left.plot(points["step"], points["train/lambda"], marker=".")
left.set(xlabel="optimiser step", ylabel="λ: weight of text alone")
for number, task in enumerate(TASKS):
    for version, line in (("text", ":"), ("collaborative", "-")):
        column = f"train/loss_{task}_{version}"
        if column in curve.columns:
            points = curve.select("step", column).drop_nulls()
            right.plot(points["step"], points[column], line, color=f"C{number}", label=f"{task}, {version}")
right.set(xlabel="optimiser step", ylabel="training loss (nats)")
right.legend(fontsize=7, ncols=2)
plt.show()

# %% [markdown]
# ## 5. Open the trained method
#
# A second run without tests gives a method that is ready to answer; its weights come from the cache.

# %%
with quiet():
    outcome = recsys_lora.run_config(recsys_lora.compose(*overrides, "test=false", folder=work / "explore"))
module, tasks, data = outcome.method.module.eval(), outcome.method.datamodule, outcome.data
questions = {task: tasks.questions(task, "test", 60) for task in TASKS}
{task: len(found) for task, found in questions.items()}

# %% [markdown]
# ## 6. The prompts
#
# Every question comes in two versions. In the second, ⟦user⟧ and ⟦item⟧ mark the positions of soft tokens; in top-k
# there is one for each candidate. Both versions end in the same words, and both are answered with the same tokens.


# %%
def written(task, version, number=0):
    prompts = tasks.prompts[task].set(questions[task], version)
    ids, places = prompts.prompts[number].tolist(), prompts.prompts.soft_positions[number]
    parts, begin = [], 0
    for which, place in enumerate(place for place in places.tolist() if place >= 0):
        parts += [module.backbone.tokenizer.decode(ids[begin:place]), "⟦item⟧" if which else "⟦user⟧"]
        begin = place + 1
    return "".join([*parts, module.backbone.tokenizer.decode(ids[begin:])])


for task in TASKS:
    print(f"--- {task}, text alone\n{written(task, 'text')}\n\n--- {task}, with soft tokens")
    print(written(task, "collaborative"), "\n")

# %% [markdown]
# ## 7. Text alone against soft tokens
#
# The same test questions of the CTR task, answered in both versions. Points off the diagonal show the effect of the
# soft tokens.

# %%
answer = Answering(module, tasks)
score = {version: answer("ctr", questions["ctr"], version, show=False) for version in ("text", "collaborative")}
label = questions["ctr"].label
figure, axis = plt.subplots(figsize=(4.6, 4.2), layout="constrained")
for value, colour, name in ((1, "tab:green", "liked"), (0, "tab:red", "not liked")):
    axis.scatter(score["text"][label == value], score["collaborative"][label == value], color=colour, label=name, s=14)
axis.axline((score["text"].mean(), score["text"].mean()), slope=1, color="grey", linestyle=":")
axis.set(xlabel="score, text alone (difference of logits)", ylabel="score, with soft tokens (difference of logits)")
axis.legend()
plt.show()

# %% [markdown]
# ## 8. What W_u does
#
# The meta-network reads the vectors of a user's earlier films and generates a matrix W_u. It maps the user's vector e_u
# to e_u W_u, from which the user's soft token is made. Training starts with W_u close to the identity, so W_u - I is
# the part that was learned (plus a little noise from the initialisation).

# %%
rows = np.unique(questions["ctr"].user, return_index=True)[1]  # one question for each user
prompts = tasks.prompts["ctr"].set(questions["ctr"], "collaborative")
batch = prompts.batch(rows, tasks.batching.pad_id, tasks.batching.padding)
with torch.no_grad():
    user, items = module.vector_scale(*module.collaborative(batch))
    history = module.mapping.adapt_item(items[:, batch.items.shape[1] :])
    present = last(batch.history, module.history_length) > 0
    matrices = module.mapping.meta.matrices(history, present).numpy()  # (users, D, D)
    e_u = module.mapping.adapt_user(user).numpy()  # (users, D)
change = matrices - np.eye(matrices.shape[1])

figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
limit = np.abs(change[:3]).max()
for axis, matrix, number in zip(axes, change, batch.user.tolist(), strict=False):
    image = axis.imshow(matrix, cmap="RdBu", vmin=-limit, vmax=limit)
    axis.set(title=f"W_u - I of {data.raw_user_ids[number]}", xlabel="to dimension", ylabel="from dimension")
figure.colorbar(image, ax=axes, label="entry")
plt.show()

# %% [markdown]
# How much do the maps differ between users? Left: the part that all users share (the mean of W_u - I), compared with
# each user's own part. Right: how far e_u moves, as a fraction of its length.

# %%
shared = change.mean(0)
own = np.linalg.norm(change - shared, axis=(1, 2))
moved = np.linalg.norm(np.einsum("ud,ude->ue", e_u, change), axis=1) / np.linalg.norm(e_u, axis=1)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
left.hist(own, 15, color="tab:blue", label="each user's own part")
left.axvline(np.linalg.norm(shared), color="tab:orange", label="what all share")
left.set(xlabel="Frobenius norm", ylabel="users")
left.legend()
right.hist(moved, 15, color="tab:blue")
right.set(xlabel="|e_u W_u - e_u| / |e_u|", ylabel="users")
plt.show()

# %% [markdown]
# If the blue bars lie far to the left of the orange line, W_u is nearly the same matrix for all users and the
# meta-network gains little: `ablation=ckf_shared_map` learns one matrix for everybody, and
# `ablation=ckf_no_meta_network` removes it. Whether that costs accuracy is a question for a real run.
#
# To the language model, soft tokens should look like words: vectors of about the same length as its own embeddings.
# They start that way; this plot shows their lengths after training.

# %%
with torch.no_grad():
    tokens = module.soft_tokens(batch, module.collaborative(batch))  # (users, 2, H)
    words = module.backbone.embed(batch.input_ids)[batch.attention_mask]
lengths = {"words of prompts": words.norm(dim=-1)}
lengths |= {name: tokens[:, place].norm(dim=-1) for place, name in enumerate(("user tokens", "item tokens"))}
figure, axis = plt.subplots(figsize=(5.5, 3), layout="constrained")
axis.boxplot([values.numpy() for values in lengths.values()], tick_labels=list(lengths), showfliers=False)
axis.set(ylabel="Euclidean length")
plt.show()

# %% [markdown]
# ## What next
#
# * All tasks, the curriculum and every ablation: [docs/ckf.md](../docs/ckf.md). `experiment=ckf_ablation` runs the
#   ablations as one sweep.
# * How to read such a sweep: [04_reading_a_sweep](04_reading_a_sweep.ipynb).
