"""How fast a language model learns from titles which items are liked: for choosing the settings of a first stage.

    python benchmarks/_text_stage.py --questions items --lr 0.001 --batch-size 8 data=ml_100k llm=smollm2_135m

Trains LoRA on prompts without history, on items that occur in no validation row, and prints AUC and UAUC of all
validation rows four times; each item is scored once. Questions are rows with their labels (`rows`), rows labelled with
their item's smoothed share of positives (`shares`), or items with this label (`items`, as `model.train_on=items`). A
bias of the score starts at the mean label. The remaining arguments are overrides of `recsys_lora.run`.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

import recsys_lora
from recsys_lora.data.batch import PromptSet
from recsys_lora.evaluation.ranking import auc, uauc
from recsys_lora.lowrank import Injection
from recsys_lora.methods.tallrec import TALLRec

TEXT = "'{genres}: {title}. Good? Answer:'"
BASE = (
    "model=tallrec",
    "data/split=cold_items",
    "data.split.train=0.6",
    "data.split.valid=0.2",
    "model.rank=16",
    "model.alpha=32.0",
    "model.targets=[q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj]",
    "model.prompt.history_items=0",
    "train=true",
    "test=false",
    "budget=smoke",
)
BIAS_RATE = 20.0


def freeze_before(lowrank: Injection, last: float) -> None:
    """Train only the updates of the last fraction of the layers."""
    layers = list(lowrank.sources.values())
    for number, layer in enumerate(layers):
        layer.requires_grad_(not last or number >= len(layers) * (1 - last))


def restart(lowrank: Injection) -> None:
    """Reset the updates to zero, whatever was trained."""
    for name, parameter in lowrank.named_parameters():
        if name.endswith("P"):
            torch.nn.init.zeros_(parameter)


def scores(module: TALLRec, prompts: PromptSet, pad_id: int) -> NDArray[np.float64]:
    """Return the score (n,) of each prompt."""
    module.eval()
    found = np.zeros(len(prompts))
    with torch.no_grad():
        for index in np.array_split(np.argsort(prompts.prompts.lengths), -(-len(prompts) // 128)):
            batch = prompts.batch(index, pad_id, "right").to(module.device)
            found[index] = module(batch).float().cpu().numpy()
    module.train()
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", choices=("rows", "shares", "items"), default="items")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--prompts", type=int, default=1600)
    parser.add_argument("--last", type=float, default=0.0, help="adapt the last share of the layers; 0: all")
    parser.add_argument("--text", default=TEXT)
    asked, overrides = parser.parse_known_args(argv)
    prompt = f"model.prompt.no_history={asked.text}", f"model.prompt.text={asked.text}"
    outcome = recsys_lora.run_config(recsys_lora.compose(*BASE, *prompt, *overrides))
    assert outcome.method is not None
    module, questions = outcome.method.module, outcome.method.datamodule
    assert isinstance(module, TALLRec)
    restart(module.lowrank)
    freeze_before(module.lowrank, asked.last)
    task, pad_id = questions.tasks["ctr"], questions.batching.pad_id
    train, valid = (questions.questions("ctr", split, None) for split in ("train", "valid"))
    items = task.item_questions(train)
    prompts = questions.prompts["ctr"].set(items)
    held_out, place = np.unique(valid.item, return_index=True)
    others = questions.prompts["ctr"].set(valid.take(place))
    of_row = np.searchsorted(items.item, train.item)
    random = np.random.default_rng(0)
    rounds = -(-asked.prompts // len(items))
    drawn = (
        np.concatenate([random.permutation(len(items)) for _ in range(rounds)])
        if asked.questions == "items"
        else random.permutation(len(train))
    )[: asked.prompts]
    index = drawn if asked.questions == "items" else of_row[drawn]
    label = train.label[drawn] if asked.questions == "rows" else items.label[index]

    share = float(train.label.mean())
    start = np.log(share / (1 - share)) - scores(module, prompts, pad_id)[:64].mean()
    bias = torch.tensor([start], dtype=torch.float32, device=module.device, requires_grad=True)
    weights = [parameter for parameter in module.lowrank.parameters() if parameter.requires_grad]
    groups = [{"params": weights, "lr": asked.lr}, {"params": [bias], "lr": BIAS_RATE * asked.lr}]
    optimizer = torch.optim.AdamW(groups, weight_decay=1e-3)
    steps = asked.prompts // asked.batch_size
    warmup = max(3, steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, 1 - max(0, step - warmup) / (steps - warmup))
    )
    for step in range(steps):
        rows = slice(step * asked.batch_size, (step + 1) * asked.batch_size)
        batch = prompts.batch(index[rows], pad_id, "right").to(module.device)
        true = torch.as_tensor(label[rows], dtype=torch.float32, device=module.device)
        loss = functional.binary_cross_entropy_with_logits(module(batch).float() + bias, true)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*weights, bias], 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % max(1, steps // 4) == 0:
            score = scores(module, others, pad_id)[np.searchsorted(held_out, valid.item)]
            area, within = auc(valid.label, score), uauc(valid.user, valid.label, score)[0]
            print(f"{(step + 1) * asked.batch_size} prompts: {area:.4f} {within:.4f}", flush=True)


if __name__ == "__main__":
    main()
