"""Backbones from everywhere: tiny, a folder, a GGUF file, the hub's cache, the fetched ones."""

import json
import multiprocessing
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaForCausalLM

import recsys_lora.llm.gguf as conversion
from recsys_lora.llm import fetched
from recsys_lora.llm.dtype import resolve_dtype
from recsys_lora.llm.fetched import FetchedSource
from recsys_lora.llm.pretrained import FolderSource, GGUFSource, HubSource
from recsys_lora.llm.tiny import TinySource, train_tokenizer
from recsys_lora.utils.errors import UserError
from tests.llm.gguf_file import write_llama

TITLES = ["Toy Story (1995)", "Heat (1995)", "Amélie (2001)", 'A "quoted" title\nof two lines 漢']


pytestmark = pytest.mark.usefixtures("home")


def same_weights(left: Any, right: Any, atol: float = 0.0) -> None:
    a, b = left.state_dict(), right.state_dict()
    assert list(a) == list(b)
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=0, atol=atol)


def test_tiny_is_seeded_and_knows_the_titles() -> None:
    first, again = (TinySource().load(TITLES, "cpu") for _ in range(2))
    same_weights(first.model, again.model)
    assert first.identity == again.identity
    json.dumps(first.identity)
    other = TinySource(init_seed=1).load(TITLES, "cpu")
    assert not torch.equal(other.embed(torch.tensor([[9]])), first.embed(torch.tensor([[9]])))
    for title in TITLES:
        assert first.tokenizer.decode(first.tokenizer(title)["input_ids"]) == title
    assert TinySource().load(["Another film"], "cpu").identity != first.identity
    assert first.pad_id == 0
    assert first.tokenizer(" Yes No")["input_ids"] == first.tokenizer.convert_tokens_to_ids(["ĠYes", "ĠNo"])


def test_tiny_leaves_the_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    TinySource().load(TITLES, "cpu")
    assert torch.equal(torch.rand(3), expected)


def test_dtype_is_what_was_asked_for() -> None:
    assert TinySource(dtype="bfloat16").load(TITLES, "cpu").dtype == torch.bfloat16
    native = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    assert resolve_dtype("auto", "cpu") == (torch.bfloat16 if native else torch.float32)
    assert resolve_dtype("float16", "cpu") == torch.float16


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    backbone = TinySource().load(TITLES, "cpu")
    backbone.model.save_pretrained(tmp_path / "saved")
    backbone.tokenizer.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def test_a_folder(folder: Path) -> None:
    source = FolderSource(str(folder), dtype="float32")
    backbone = source.load([], "cpu")
    same_weights(backbone.model, AutoModelForCausalLM.from_pretrained(folder))
    assert backbone.identity == source.identity()
    before = source.identity()
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"x")
    assert FolderSource(str(folder), dtype="float32").identity() != before


def test_bad_places_are_said_in_one_line(tmp_path: Path, folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "no-such-family"}')
    (tmp_path / "text.gguf").write_text("no model")
    for source, words in [
        (FolderSource(str(tmp_path / "none")), "no config.json"),
        (FolderSource(str(folder)), f"llm.path={folder}: the backbone cannot be loaded"),
        (GGUFSource(str(tmp_path / "none.gguf")), "no such file"),
        (GGUFSource(str(tmp_path / "text.gguf")), "cannot be read as a GGUF model"),
    ]:
        with pytest.raises(UserError, match=words) as caught:
            source.load([], "cpu")
        assert "\n" not in str(caught.value)
    assert not list((tmp_path / "home" / "backbones").glob(".*"))


def test_the_hub_s_cache_needs_no_network(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = tmp_path / "hub" / "models--someone--small"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("a" * 40)
    (cached / "snapshots").mkdir()
    folder.rename(cached / "snapshots" / ("a" * 40))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("socket.socket.connect", lambda *args: pytest.fail("asked the network"))
    assert HubSource("someone/small").load([], "cpu").hidden_size == 64
    with pytest.raises(UserError, match=r"llm.path=.*cannot be loaded"):
        FolderSource(str(folder_without_weights(tmp_path))).load([], "cpu")


def test_a_hub_out_of_reach_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def refuse(*args: object) -> None:
        tries.append(args)
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    with pytest.raises(UserError, match=r"llm.name=someone/small: not in the local cache, and the hub cannot be asked"):
        HubSource("someone/small").load([], "cpu")
    assert len(tries) <= 2


def test_a_folder_without_one_tensor_is_refused(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    lost = tensors.pop("model.layers.0.self_attn.q_proj.weight")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"lacks 1 of its tensors, model.layers.0.self_attn.q_proj.weight"):
        FolderSource(str(folder), dtype="float32").load([], "cpu")
    tensors["model.layers.0.self_attn.q_proj.weight"] = lost[:-1]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="cannot be loaded") as caught:
        FolderSource(str(folder), dtype="float32").load([], "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda weight: weight.to(torch.int64), "keeps {} as whole numbers"),
        (lambda weight: (100 * weight).to(torch.int8), "keeps {} as whole numbers"),
        (lambda weight: weight > 0, "keeps {} as whole numbers"),
        (lambda weight: weight * float("nan"), "saved: {} holds values that are not finite"),
        (lambda weight: weight * float("inf"), "saved: {} holds values that are not finite"),
    ],
    ids=["int64", "int8", "bool", "nan", "inf"],
)
def test_weights_that_are_no_numbers_of_floating_point_are_refused(
    folder: Path, change: Callable[[torch.Tensor], torch.Tensor], said: str
) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    save_file(tensors | {name: change(tensors[name])}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=re.escape(said.format(name))) as caught:
        FolderSource(str(folder), dtype="float32").load([], "cpu")
    assert "\n" not in str(caught.value)


def test_a_cut_weights_file_is_one_line(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match="cannot be loaded") as caught:
        FolderSource(str(folder), dtype="float32").load([], "cpu")
    assert "\n" not in str(caught.value)


def test_a_model_of_no_layers_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    for layers in (0, -1):
        (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": layers}))
        with pytest.raises(UserError, match=r"no decoder blocks|cannot be loaded"):
            FolderSource(str(folder), dtype="float32").load([], "cpu")


@pytest.mark.parametrize(
    "name", ["chat_template.jinja", "merges.txt", "vocab.txt", "additional_chat_templates/a.jinja"]
)
def test_every_file_that_makes_prompts_is_part_of_the_identity(folder: Path, name: str) -> None:
    before = FolderSource(str(folder), dtype="float32").identity()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{{ messages }}")
    assert FolderSource(str(folder), dtype="float32").identity() != before


def test_code_in_a_folder_never_runs(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda *args: "y")
    config = json.loads((folder / "config.json").read_text())
    classes = {"AutoConfig": "evil.EvilConfig", "AutoModelForCausalLM": "evil.Evil"}
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    for family in ("llama", "evil"):
        (folder / "config.json").write_text(json.dumps({**config, "auto_map": classes, "model_type": family}))
        if family == "llama":  # the library knows this family: its own code is used
            assert FolderSource(str(folder), dtype="float32").load([], "cpu").hidden_size == 64
        else:
            with pytest.raises(UserError, match="cannot be loaded"):
                FolderSource(str(folder), dtype="float32").load([], "cpu")
    assert not (tmp_path / "ran").exists()


def folder_without_weights(tmp_path: Path) -> Path:
    made = tmp_path / "empty"
    made.mkdir()
    (made / "config.json").write_text('{"model_type": "llama"}')
    return made


def write_gguf(path: Path) -> LlamaForCausalLM:
    """Write a tiny Llama, and return it."""
    backbone = TinySource().load(TITLES, "cpu")
    write_llama(path, backbone.model, backbone.tokenizer)
    found: LlamaForCausalLM = backbone.model
    return found


def test_a_gguf_file_is_converted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    original = write_gguf(tmp_path / "tiny.gguf")
    source = GGUFSource(str(tmp_path / "tiny.gguf"), dtype="float32")
    backbone = source.load([], "cpu")
    assert "tensors..." not in capfd.readouterr().err  # no bar of the library's own
    same_weights(backbone.model, original, atol=1e-6)
    text = 'A user liked "Heat (1995)" \n#Answer: Yes'
    expected = train_tokenizer(TITLES, 1024)(text)["input_ids"]
    assert backbone.tokenizer(text, add_special_tokens=False)["input_ids"] == expected
    monkeypatch.setattr(conversion, "_read", lambda file: pytest.fail("converted twice"))
    again = GGUFSource(str(tmp_path / "tiny.gguf"), dtype="bfloat16").load([], "cpu")
    assert again.dtype == torch.bfloat16
    same_weights(again.model, original.to(torch.bfloat16), atol=1e-2)


def _load(path: str) -> int:
    return GGUFSource(path).load([], "cpu").hidden_size


def test_a_broken_conversion_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    source = GGUFSource(str(tmp_path / "tiny.gguf"))
    backbones = tmp_path / "home" / "backbones"

    def full(self: Any, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(LlamaForCausalLM, "save_pretrained", full)
        with pytest.raises(UserError, match="disk is full"):
            source.load([], "cpu")
    [lock] = backbones.iterdir()
    killed = backbones / f".{lock.stem}.123-abcdef01.tmp"
    killed.mkdir()  # what a conversion leaves that cannot clean up
    assert source.load([], "cpu").hidden_size == 64
    assert {path.name for path in backbones.iterdir()} == {lock.name, lock.stem}


@pytest.mark.slow
def test_two_processes_convert_one_file(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_load, [str(tmp_path / "tiny.gguf")] * 2) == [64, 64]


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "width", "o_proj"),
    [("smollm2_135m", 576, 576), ("gemma3_270m", 640, 1024), ("qwen25_coder_0_5b", 896, 896)],
)
def test_fetched_backbones_write_english(name: Any, width: int, o_proj: int) -> None:
    backbone = FetchedSource(name, dtype="float32").load([], "cpu")
    assert backbone.hidden_size == width
    assert backbone.model.base_model.layers[0].self_attn.o_proj.in_features == o_proj
    assert "4-bit" in backbone.label
    ids = torch.tensor([backbone.tokenizer("One, two, three, four,")["input_ids"]])
    five = backbone.tokenizer(" five", add_special_tokens=False)["input_ids"]
    mask = torch.ones_like(ids)
    vocabulary = torch.arange(backbone.model.get_output_embeddings().weight.shape[0])
    logits = backbone.logits_at(backbone.last(backbone.hidden(backbone.embed(ids), mask), mask), vocabulary)
    assert [int(logits.argmax())] == five


def test_named_backbones_are_known_by_checksum() -> None:
    for name in fetched.ASSETS:
        identity = FetchedSource(name).identity()  # type: ignore[arg-type]
        assert len(identity["gguf"]) == 64
