"""Rules about method options that need others, checked before a run reads anything.

`check.py` sees one value at a time; these rules are about several, of `model` and of `first` alike, and their messages
name the key that a user sets. They are about a method's own options. Options of the run (data, cf, trainer, callbacks)
apply to every model of a sweep, even to one that has no use for them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recsys_lora.config.rule import Kind, MethodSettings, Rule, has, has_not
from recsys_lora.utils.errors import UserError

_LOGIT = "adds the CF model's logit to yes-or-no questions, but"
_MASKED = "the method takes no vectors of users and items beside its prompts' text: set it to 0"
_TUNED = "is about a CF model that is trained along: set {at}.tune_encoder=true, or leave it out"
_CURRICULUM = "has no effect with {at}.objective.curriculum={own[objective.curriculum]}: leave it out"
_BRIDGE = "has no effect with {at}.mapping.bridge={own[mapping.bridge]}: leave it out"
_LORA = "has no effect with {at}.lora={own[lora]}: leave it out"
_WARMUP = "has no effect with {at}.optimizer.warmup_steps=0: leave it out"
_DIRECT = "has no effect with {at}.generator.kind=direct: leave it out"

_READER = {
    "generator.queries": None,
    "generator.blocks": 2,
    "generator.query_dim": None,
    "generator.heads": 4,
    "generator.ffn_dim": None,
    "generator.dropout": 0.1,
    "generator.single_key": "merged",
    "generator.norm_eps": 1e-5,
    "generator.init_std": None,
}
_META = {"mapping.pooling": "mean", "mapping.hidden": [32], "mapping.activation": "relu"}
_SHARED = ["k_proj", "v_proj", "o_proj"]
_GRAPH = {"layer": "middle", "layer_alpha": None, "graph.kind": "ngcf", "graph.layers": 3, "graph.dropout": 0.1}


def _asks_yes_or_no(own: MethodSettings) -> bool:
    return any(own.yes_or_no) or not own.yes_or_no


def _reads_vectors(own: MethodSettings) -> bool:
    return (own.has("needs_encoder") or own.has("is_personalised")) and not own.has("writes_vectors")


def _divisible(own: MethodSettings) -> bool:
    return bool(own["generator.kind"] == "direct" or own["generator.query_dim"] % own.get("generator.heads", 1) == 0)


def _a_query_a_component(own: MethodSettings) -> bool:
    free = own["generator.kind"] == "direct" or own.get("generator.pooling", "mean") == "mean"
    return bool(free or own["generator.queries"] == own["rank"])


def _one_key(own: MethodSettings) -> bool:
    return bool(own["generator.input"] != "pair" or own["generator.queries"] == 1)


def _same(option: str) -> Rule:
    """Return the rule that an option of a first stage's updates equals that of the model that continues from them."""

    def same(own: MethodSettings) -> bool:
        return own.at == "model" or own[option] == own.get(option, own[option], "model")

    return Rule(option, None, same, f"both stages have the same updates, but model.{option} is another: set that alone")


def _among_the_targets(own: MethodSettings) -> bool:
    return own.at == "model" or set(own["targets"]) <= set(own.get("targets", own["targets"], "model"))


def _idle(needs: str, values: Sequence[Any], line: str, off: Mapping[str, Any], kind: Kind = "idle") -> Iterator[Rule]:
    """Yield the rules for options that have no effect unless another option has one of some values.

    Args:
        needs: the other option.
        values: its values.
        line: why, and what to do.
        off: each option with the value at which it does nothing of its own.
        kind: refused (`idle`) or logged (`noted`).
    """
    for option, value in off.items():
        yield Rule(option, value, has(needs, *values), line, kind)


RULES = (
    Rule(
        "offset",
        "none",
        lambda own: own.has("needs_encoder"),
        f"{_LOGIT} this method has no CF model: set {{at}}.offset=none",
    ),
    Rule("offset", "none", _asks_yes_or_no, f"{_LOGIT} the run asks none: set {{at}}.offset=none"),
    Rule(
        "offset_scale",
        0,
        has_not("offset", "none"),
        "weighs the method's logit beside the CF model's: set {at}.offset=cf, or leave it out",
        "idle",
    ),
    Rule("mask_users", 0, _reads_vectors, _MASKED),
    Rule("mask_items", 0, _reads_vectors, _MASKED),
    Rule("pairwise", 0, _asks_yes_or_no, "compares yes-or-no questions, but the run asks none: set {at}.pairwise=0"),
    Rule(
        "pairwise",
        0,
        has_not("rows_per_user", 1),
        "compares rows of one user in a batch: set {at}.rows_per_user to 2 or more",
        "idle",
    ),
    Rule(
        "rows_per_user",
        1,
        lambda own: own["rows_per_user"] <= own.get("batch_size", 1),
        "a batch has {own[batch_size]} rows: lower it, or raise {at}.batch_size",
    ),
    *_idle(
        "train_on",
        ["rows"],
        "is about rows of one user, but {at}.train_on=items asks of no user: leave one of them out",
        {"pairwise": 0, "rows_per_user": 1},
    ),
    Rule(
        "train_on",
        "rows",
        lambda own: all(own.yes_or_no),
        "makes yes-or-no questions, but the run asks others, too: set tasks=[ctr] or {at}.train_on=rows",
    ),
    Rule(
        "tune_encoder",
        False,
        lambda own: bool(own.config["cf"].get("train_share", 1) == 1),
        "trains one CF model along, but cf.train_share below 1 makes two, one to train with and one to test with: set "
        "cf.train_share=1 or {at}.tune_encoder=false",
    ),
    *_idle("tune_encoder", [True], _TUNED, {"encoder_lr_factor": 1, "encoder_start": "fitted"}),
    # CoRA
    Rule(
        "text_lora",
        "none",
        lambda own: own["text_lora"] != "fixed" or own.config.get("first") is not None,
        "keeps the updates of a first stage as they are, and there is none: choose model=cora_tuned, or "
        "{at}.text_lora=tuned",
        "idle",
    ),
    Rule("generator.query_dim", None, _divisible, "is no multiple of {at}.generator.heads={own[generator.heads]}"),
    Rule(
        "generator.queries",
        None,
        _a_query_a_component,
        "{at}.generator.pooling=per_rank_component takes one query a rank component, and {at}.rank={own[rank]}: leave "
        "it out",
    ),
    *_idle("generator.kind", ["queries"], _DIRECT, {"generator.pooling": "mean"}),
    *_idle("generator.kind", ["queries"], _DIRECT, _READER, "noted"),
    Rule("generator.single_key", "merged", _one_key, "has no effect with several keys: leave it out", "noted"),
    # CKF
    *_idle(
        "objective.curriculum",
        ["sigmoid", "weighted", "two_stage"],
        _CURRICULUM,
        {"objective.middle": 0.5},
    ),
    *_idle("objective.curriculum", ["sigmoid", "weighted"], _CURRICULUM, {"objective.steepness": 8}),
    *_idle("objective.curriculum", ["sigmoid"], _CURRICULUM, {"objective.skip_below": 0.01}),
    *_idle("mapping.bridge", ["low_rank"], _BRIDGE, {"mapping.bridge_rank": 8}),
    *_idle("mapping.bridge", ["meta", "low_rank", "shared"], _BRIDGE, {"mapping.personalised_items": False}),
    *_idle("mapping.bridge", ["meta", "low_rank"], _BRIDGE, _META, "noted"),
    *_idle(
        "mapping.pooling",
        ["attention"],
        "has no effect with {at}.mapping.pooling=mean: leave it out",
        {"mapping.attention_hidden": [32, 64]},
    ),
    *_idle("lora", ["multi", "single", "specific_only", "all_matrices"], _LORA, {"specific_targets": ["q_proj"]}),
    *_idle("lora", ["multi", "single", "shared_only", "all_matrices"], _LORA, {"shared_targets": _SHARED}),
    # GraphLoRA
    *(
        Rule(
            option, off, has_not("beta", 0), "has no effect with {at}.beta=0, which has no graph: leave it out", "noted"
        )
        for option, off in _GRAPH.items()
    ),
    # Low-rank updates and their training
    Rule("dropout_per", "sample", has_not("dropout", 0), "has no effect with {at}.dropout=0: leave it out", "noted"),
    Rule(
        "optimizer.final_lr_fraction",
        0,
        has_not("optimizer.schedule", "constant"),
        "has no effect with {at}.optimizer.schedule=constant: leave it out",
        "noted",
    ),
    *(
        Rule(f"optimizer.{option}", off, has_not("optimizer.warmup_steps", 0), _WARMUP, "noted")
        for option, off in {"initial_lr_fraction": 0.01, "max_warmup_fraction": 0.1}.items()
    ),
    # A first stage
    _same("rank"),
    _same("alpha"),
    Rule("targets", None, _among_the_targets, "the updates go on in the model's: name some of model.targets alone"),
)


def refuse_unfit(config: Mapping[str, Any], kinds: Sequence[Kind] = ("impossible", "idle")) -> None:
    """Refuse settings of methods that do not go together.

    Args:
        config: plain containers, each value checked.
        kinds: the kinds of rules to check.

    Raises:
        UserError: names every such option, separated by semicolons.
    """
    if found := [*_first_stage(config), *broken(config, *kinds)]:
        raise UserError("; ".join(found))


def broken(config: Mapping[str, Any], *kinds: Kind) -> list[str]:
    """Return a message for each option of `model` and `first` that breaks a rule of these kinds."""
    methods = [MethodSettings(at, config) for at in ("model", "first") if config.get(at)]
    lines = (rule.broken(own) for own in methods for rule in RULES if rule.kind in kinds)
    return [line for line in lines if line is not None]


def _first_stage(config: Mapping[str, Any]) -> Iterator[str]:
    if not config.get("first"):
        return
    own = MethodSettings("model", config)
    if not own.has("takes_first_stage"):
        yield f"first: model={own['name']} cannot go on from a first stage: set first=null"
    elif own.get("text_lora") == "none":
        yield "model.text_lora=none: has no updates for what the first stage learns: set it to fixed, or first=null"
