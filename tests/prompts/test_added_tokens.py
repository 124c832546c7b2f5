"""Titles never become the markup of a model: tokenizers that declare their tokens as four families do."""

import pytest
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from recsys_lora.llm.tiny import train_tokenizer
from recsys_lora.prompts.titles import SPECIAL, prompt_titles

SMOLLM2 = [
    *("<|im_start|>", "<|im_end|>", "<repo_name>", "<reponame>", "<file_sep>", "<filename>", "<gh_stars>"),
    *("<issue_start>", "<issue_comment>", "<issue_closed>", "<jupyter_start>", "<jupyter_text>", "<jupyter_code>"),
    *("<jupyter_output>", "<jupyter_script>", "<empty_output>", "<|endoftext|>"),
]
LLAMA3 = [
    *("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>"),
    *("<|python_tag|>", "<|finetune_right_pad_id|>", *(f"<|reserved_special_token_{n}|>" for n in range(11))),
]
GEMMA3 = [
    *("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "[multimodal]", "<start_of_turn>", "<end_of_turn>"),
    *("<start_of_image>", "<end_of_image>", "<unused1>", "<unused10>", "<table>", "</table>", "\n\n", "▁▁"),
]
QWEN25 = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|vision_pad|>", "<tool_call>"),
    *("</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|repo_name|>", "<|file_sep|>"),
]
# Which of them are special there, and which are ordinary added tokens.
FAMILIES = {
    "smollm2": (SMOLLM2, True, {}),
    "llama3": (LLAMA3, True, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}),
    "gemma3": (GEMMA3, False, {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}),
    "qwen25": (QWEN25, False, {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}),
}


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request):
    tokens, special, named = FAMILIES[request.param]
    core = train_tokenizer(["Alien (1979)", "Amélie (2001)"], 400).backend_tokenizer
    core.add_tokens([AddedToken(token, special=special, normalized=False) for token in tokens])
    return PreTrainedTokenizerFast(tokenizer_object=core, **named), tokens


def test_no_added_token_survives_in_a_title(family):
    tokenizer, tokens = family
    visible = [token for token in tokens if token.strip()]
    titles = [f"The {token} Story (1995)" for token in visible]
    titles += visible
    titles += [f"{token}{token}" for token in visible]
    titles += [f"{left[:-1]}{right}{left[-1]}" for left, right in zip(visible, reversed(visible), strict=True)]
    cleaned, counts = prompt_titles([None, *titles], tokenizer, 400, "unknown")
    added = set(tokenizer.added_tokens_decoder)
    assert any(added & set(tokenizer(title)["input_ids"]) for title in titles)
    for title, clean in zip(titles, cleaned[1:], strict=True):
        assert not added & set(tokenizer(clean)["input_ids"]), (title, clean)
        assert clean.replace(" ", "") == title.replace(" ", "")  # nothing is lost
    assert counts[SPECIAL] == len(titles)


def test_ordinary_titles_stay_as_they_are(family):
    tokenizer, _ = family
    titles = ["Toy Story (1995)", "Alien 3 < 4 > 2 | x", "<b>old</b> & [new]", "Face/Off (1997)"]
    cleaned, counts = prompt_titles([None, *titles], tokenizer, 64, "unknown")
    assert cleaned[1:] == titles
    assert not counts
