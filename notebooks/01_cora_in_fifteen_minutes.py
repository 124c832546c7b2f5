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
# # CoRA in fifteen minutes
#
# CoRA ([arXiv 2408.10645](https://arxiv.org/abs/2408.10645)) keeps a language model frozen and its prompt plain text.
# The knowledge of a collaborative filtering (CF) model about a user and an item enters as *weights*: a small network
# reads the two vectors and generates a matrix A(u, i), and every adapted linear map of the language model computes
#
#     y = W0 x + (alpha / R) · P A(u, i)^T x
#
# This notebook trains CoRA on a synthetic film club and then looks inside: at the generated weights, and at their
# effect on a score.
#
# **Look at the plots, not the numbers.** By default the language model is the *tiny* one: two layers with random
# weights. It knows no English, so everything learned here comes from the collaborative vectors, and no number says
# anything about CoRA on real data (for that, see [docs/results.md](../docs/results.md)).

# %%
BUDGET, LLM = "smoke", "tiny"  # the real model: "demo", "smollm2_135m" (fetches 270 MB; takes minutes)

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
import torch
from helpers import film_club, quiet, work_folder
from IPython.display import Markdown

import recsys_lora
from recsys_lora.evaluation.ranking import auc
from recsys_lora.methods.answering import Answering
from recsys_lora.methods.vectors import mean_of_present
from recsys_lora.tasks.ctr import of_rows

work = work_folder()

# %% [markdown]
# ## 1. Data
#
# Sixty people have rated forty films each. Everybody likes two of four genres, and their ratings follow this taste nine
# times out of ten. Ratings of 4 and above count as "liked". The titles reveal the genre to a reader who knows English.

# %%
club = film_club()
club.interactions.write_csv(work / "ratings.csv")
club.items.write_csv(work / "films.csv")
club.interactions.join(club.items, on="item_id").select("user_id", "title", "genre", "rating").head(5)

# %% [markdown]
# ## 2. A run is a config, and a config is a list of overrides
#
# `recsys_lora.compose` takes the overrides that you would type after `python -m recsys_lora.run` and returns a typed
# record; components that are built from it, such as the method, are plain dicts in it. At the smoke budget we train a
# little more than its default, so that there is something to see.

# %%
overrides = [
    "model=cora",
    "cf=mf",
    f"llm={LLM}",
    f"budget={BUDGET}",
    "data=table",
    "data.name=films",
    f"data.interactions={work / 'ratings.csv'}",
    f"data.items={work / 'films.csv'}",
    "data.wording.item=film",
    "data.wording.items=films",
    "evaluation.draws=200",
]
if BUDGET == "smoke":
    overrides += ["data.train_rows=640", "data.valid_rows=100", "data.test_rows=200", "evaluation.shuffled_rows=200"]
    overrides += ["trainer.max_epochs=4", "cf.trainer.max_epochs=30", "model.optimizer.lr=0.003"]
    overrides += ["model.generator.query_dim=64", "trainer.log_every_n_steps=5"]

config = recsys_lora.compose(*overrides, folder=work / "run")
{key: config.model[key] for key in ("rank", "alpha", "targets", "sharing", "score")}

# %% [markdown]
# ## 3. Train and test
#
# One call prepares the data, fits the CF model (here matrix factorisation), trains CoRA, and scores the test rows with
# everything that the table compares. The second time, everything except the training below would be read from the
# cache; `stage.force=[method]` trains again so that there is a curve.

# %%
with quiet():  # it prints progress and the table; leave this out to watch
    outcome = recsys_lora.run_config(recsys_lora.compose(*overrides, "stage.force=[method]", folder=work / "run"))
Markdown((work / "run" / "table.md").read_text())

# %% [markdown]
# The first table compares CoRA, on the same rows, with baselines that need no model, its CF model (`mf`), the frozen
# language model, and stacks of the others with and without CoRA. The second repeats CoRA with every user's vector
# replaced by another user's: a method that uses its vectors must fall apart there. The third has the paired differences
# between CoRA and every other row, and the last splits the first by warm and cold questions; here all are warm.
#
# The plots show the training loss at each logged step and the AUC on the validation rows.

# %%
curve = pl.read_csv(work / "run" / "metrics.csv", infer_schema_length=None)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
for axis, column, label in ((left, "train/loss", "training loss (nats)"), (right, "valid/auc", "validation AUC")):
    points = curve.select("step", column).drop_nulls()
    axis.plot(points["step"], points[column], marker=".")
    axis.set(xlabel="optimiser step", ylabel=label)
right.axhline(0.5, color="grey", linestyle=":", label="chance")
right.legend()
plt.show()

# %% [markdown]
# ## 4. Open the trained method
#
# A second run, without tests and in another folder, takes the method from the cache. (The method of the first run would
# do as well: testing does not change it.)

# %%
with quiet():
    outcome = recsys_lora.run_config(recsys_lora.compose(*overrides, "test=false", folder=work / "explore"))
module, datamodule, data = outcome.method.module.eval(), outcome.method.datamodule, outcome.data
{"reused": outcome.method.training["reused"], "trained parameters": outcome.method.training["trained_parameters"]}

# %% [markdown]
# This is the prompt of one test row. It is plain text: no ids, no vectors, no special tokens.

# %%
rows = data.sample("test", 200, seed=0)
questions = of_rows(rows)  # would this user like this item?
prompts = datamodule.prompts["ctr"].set(questions)
batching = datamodule.batching
batch_of = lambda index: prompts.batch(np.asarray(index), batching.pad_id, batching.padding)  # noqa: E731
print(module.backbone.tokenizer.decode(prompts.prompts[0]))

# %% [markdown]
# ## 5. From two vectors to weights
#
# The frozen CF model gives e_u and e_i, and the generator turns them into A(u, i): one matrix for all adapted maps of
# the same input width (`sharing: all`).


# %%
def pair_of(batch):
    user, items = module.collaborative(batch)  # (B, D), and (B, candidates, D): here one candidate
    return module.vector_scale(user, mean_of_present(items, batch.items > 0))


batch = batch_of(range(8))
with torch.no_grad():
    user, item = pair_of(batch)
    factors = module.generator(user, item)
{"e_u": tuple(user.shape), "e_i": tuple(item.shape)} | {f"A, {k}": tuple(v.shape) for k, v in factors.items()}

# %% [markdown]
# The score of a prompt is logit("Yes") - logit("No") at its last token. Here it is computed step by step, with one
# factor that training does not have: a `strength` that multiplies the generated weights.


# %%
@torch.no_grad()
def scores(batch, strength=1.0):
    factors = module.generator(*pair_of(batch))
    module.lowrank.state.set({name: strength * A for name, A in factors.items()})
    hidden = module.backbone.hidden(module.backbone.embed(batch.input_ids), batch.attention_mask)
    last = module.backbone.last(hidden, batch.attention_mask)
    yes, no = module.backbone.logits_at(last, module.answers.choices[0].token_ids).T
    return (yes - no).numpy()


with torch.no_grad():
    assert np.allclose(scores(batch), module(batch).numpy(), atol=1e-5)
print("the same as the method's own forward pass")

# %% [markdown]
# ## 6. Turn the weights up and down
#
# At strength 0 this is the frozen language model, at 1 it is CoRA. Values in between and beyond show the effect of the
# weights on single prompts: fifty test rows that the user liked and fifty that the user did not. The effect is right on
# average, not for every row.

# %%
liked, disliked = (np.flatnonzero(rows.label == label)[:50] for label in (1, 0))
strengths = np.linspace(0, 1.5, 11)
figure, axis = plt.subplots(figsize=(6.5, 4), layout="constrained")
for index, colour, name in ((liked, "tab:green", "liked"), (disliked, "tab:red", "not liked")):
    lines = np.array([scores(batch_of(index), strength) for strength in strengths])  # (11, 50)
    axis.plot(strengths, lines, color=colour, alpha=0.15)
    axis.plot(strengths, lines.mean(1), color=colour, linewidth=3, label=f"{name}, mean of {len(index)} rows")
axis.axvline(1, color="grey", linestyle=":")
axis.set(xlabel="strength of the generated weights (1 = as trained)", ylabel='score: logit("Yes") - logit("No")')
axis.legend()
plt.show()

# %% [markdown]
# ## 7. One prompt, everybody's weights
#
# Now the text stays the same and only the user's collaborative vector changes, so any difference between the bars comes
# from the generated weights. The colour is the ground truth behind the data: does this person like the film's genre?

# %%
row = int(liked[0])
genre = dict(club.items.select("item_id", "genre").iter_rows())
this = data.raw_item_ids[int(rows.item[row])]
everybody = np.arange(1, data.num_users + 1)
same_text = batch_of([row] * len(everybody))
values = scores(replace(same_text, user=torch.from_numpy(everybody)))
fond = np.array([genre[this] in club.likes[data.raw_user_ids[user]] for user in everybody])
order = np.argsort(values)
figure, axis = plt.subplots(figsize=(9, 3), layout="constrained")
axis.bar(range(len(order)), values[order], color=np.where(fond[order], "tab:green", "tab:red"))
axis.set(xlabel="users, by their score", ylabel="score (difference of logits)")
axis.set_title(f"“{data.titles[int(rows.item[row])]}” for everybody: green likes {genre[this]} films")
plt.show()
print(f"AUC over users: {auc(fond.astype(float), values):.2f}")

# %% [markdown]
# ## 8. What the generated matrices look like
#
# Each A(u, i) has a Frobenius norm of one (`normalise: true`), so the matrices differ in direction and shape. Left:
# their singular values. If a few are much larger than the others, the update works in fewer dimensions than R allows.
# Right: the similarity of the matrices of two rows (cosine over all entries).

# %%
with torch.no_grad():
    many = batch_of(range(len(rows)))
    A = next(iter(module.generator(*pair_of(many)).values()))  # (n, width, R)
values = torch.linalg.svdvals(A).numpy()  # (n, R)
flat = A.flatten(1).numpy()
cosine = flat @ flat.T
pairs = np.triu(np.ones_like(cosine, dtype=bool), 1)
same_user, same_item = rows.user[:, None] == rows.user, rows.item[:, None] == rows.item
kinds = {
    "same user": pairs & same_user & ~same_item,
    "same film": pairs & same_item & ~same_user,
    "neither": pairs & ~same_user & ~same_item,
}
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
ranks = np.arange(1, values.shape[1] + 1)
left.fill_between(ranks, *np.quantile(values, [0.05, 0.95], axis=0), alpha=0.3, label="5 % to 95 % of rows")
left.plot(ranks, np.median(values, axis=0), marker=".", label="median")
left.set(xlabel="number of the singular value", ylabel="singular value of A(u, i)", yscale="log")
left.legend()
right.boxplot([cosine[mask] for mask in kinds.values()], tick_labels=list(kinds), showfliers=False)
right.set(ylabel="cosine between two A(u, i)")
plt.show()

# %% [markdown]
# ## 9. Exchange the users' vectors
#
# The last check is one that every run reports. All rows keep their text and their item, but every user gets another
# user's vector. If the scores of liked and disliked rows then overlap, CoRA's knowledge about the user came through the
# vector.

# %%
answer = Answering(module, datamodule)
own = answer("ctr", questions, show=False)
exchanged = answer("ctr", questions, shuffle_users=0, show=False)
figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharex=True, sharey=True, layout="constrained")
bins = np.linspace(min(own.min(), exchanged.min()), max(own.max(), exchanged.max()), 25)
for axis, values, name in zip(axes, (own, exchanged), ("own vectors", "another user's vectors"), strict=True):
    for label, colour, text in ((1, "tab:green", "liked"), (0, "tab:red", "not liked")):
        axis.hist(values[rows.label == label], bins, color=colour, alpha=0.5, label=text)
    axis.set(xlabel="score (difference of logits)", title=f"{name}: AUC {auc(rows.label, values):.2f}")
axes[0].set(ylabel="test rows")
axes[0].legend()
plt.show()

# %% [markdown]
# ## What next
#
# * Every ablation of CoRA is one override: [docs/cora.md](../docs/cora.md).
# * A method with several tasks, and soft tokens instead of weights: [02_ckf_four_tasks](02_ckf_four_tasks.ipynb).
# * Your own data and backbone: [03_your_own_data_and_backbone](03_your_own_data_and_backbone.ipynb).
