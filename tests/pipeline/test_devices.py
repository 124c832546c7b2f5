"""What a device suits is chosen by it, and a run that this machine has no device for is refused at once."""

import logging
from types import SimpleNamespace

import pytest
import torch

from recsys_lora.pipeline import devices
from recsys_lora.utils.errors import UserError
from tests.jobs import NO_METHOD, SMALL, run

NONE = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")


@NONE
@pytest.mark.parametrize("trainer", ["gpu", "ddp", "fsdp"])
def test_a_gpu_trainer_without_a_gpu_is_refused_before_anything_is_read(trainer, tmp_path, home):
    with pytest.raises(UserError, match=r"trainer\.accelerator=gpu: PyTorch finds no CUDA.*: choose trainer=cpu"):
        run(tmp_path / "run", *SMALL, "data.interactions=missing.csv", f"trainer={trainer}", "trainer.devices=2")
    assert not list((tmp_path / "run").iterdir())
    assert not (tmp_path / "home").exists()


SPREAD = "trainer=fsdp trainer.accelerator=cpu"


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        pytest.param(
            "cf.trainer.accelerator=gpu", r"cf\.trainer\.acc.*=gpu: PyTorch finds no CUDA.*: set it to auto", marks=NONE
        ),
        (f"{SPREAD} trainer.devices=1", "one device has nothing to spread"),
        (f"{SPREAD} trainer.devices=2 llm=smollm2_135m llm.quantise=int8", "cannot spread quantised weights"),
        (f"{SPREAD} trainer.devices=2 llm.compiled=true", r"set llm\.compiled=false"),
        ("trainer.max_epochs=0", r"trainer\.max_epochs=0: nothing would be trained"),
        ("trainer.max_steps=0", r"trainer\.max_steps=0: nothing would be trained"),
        ("trainer.limit_train_batches=0", r"trainer\.limit_train_batches=0: nothing would be trained"),
        ("trainer.devices=0", r"trainer\.devices=0: a run needs at least one"),
        ("trainer.devices=[]", r"trainer\.devices=\[\]: a run needs at least one"),
        ("seed=18446744073709551616", r"seed=18446744073709551616: Input should be less than or equal to 4294967295"),
        ("data.sample_seed=4294967296", r"data\.sample_seed=4294967296: Input should be less"),
        ("trainer.devices=-1", r"trainer: `devices` selected with `CPUAccelerator` should be an int > 0"),
        ("trainer.devices='0,1'", r"trainer: `devices` selected with `CPUAccelerator`"),
        ("trainer.accelerator=abc", r"trainer: You selected an invalid accelerator name: `accelerator='abc'`"),
        ("trainer.strategy=abc", r"trainer: You selected an invalid strategy name"),
        ("trainer.profiler=abc", r"trainer: .* `profiler` .*: conf/trainer/cpu\.yaml explains each value"),
        ("trainer.enable_checkpointing=false", r"trainer: .*`enable_checkpointing=False`"),
        ("trainer.accumulate_grad_batches=0", r"trainer\.accumulate_grad_batches=0: give 1 or more"),
        ("trainer.check_val_every_n_epoch=0", r"trainer\.check_val_every_n_epoch=0: give 1 or more"),
        ("trainer.val_check_interval=0", r"trainer\.val_check_interval=0: give 1 or more"),
        ("+trainer.fast_dev_run=true", r"trainer\.fast_dev_run: it keeps nothing to test: choose debug=fast"),
        ("cf.trainer.val_check_interval=2.5", r"cf\.trainer\.val_check_interval=2\.5: Input should be less"),
        ("model._target_=os.system", r"model\._target_=os\.system: no method: name a class derived from"),
        ("model._target_=my_methods.Mine", r"model\._target_=my_methods\.Mine: cannot be imported \(No module"),
    ],
)
def test_what_cannot_train_is_refused_before_anything_is_read(overrides, reason, tmp_path):
    with pytest.raises(UserError, match=reason) as refusal:
        run(tmp_path / "run", *SMALL, "data.interactions=missing.csv", *overrides.split())
    assert len(str(refusal.value).splitlines()) == 1


def test_the_check_of_a_trainer_leaves_the_process_as_it_was(tmp_path):
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        with pytest.raises(UserError, match=r"missing\.csv"):
            run(tmp_path / "run", *SMALL, "data.interactions=missing.csv", "trainer.deterministic=true")
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(before)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("llm=folder", "llm.path=/nowhere"), r"llm\.path=/nowhere: no model folder"),
        (("llm=gguf", "llm.path=/nowhere"), r"llm\.path=/nowhere: no such file"),
        (("llm=hub", "llm.name=someone/small"), r"llm\.name=someone/small: not in the local cache, and the hub"),
    ],
)
def test_a_language_model_that_is_not_there_is_told_before_anything_is_read(overrides, reason, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    asked = []

    def unreachable(*_, **__):
        asked.append(1)
        raise OSError("no route to the hub")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
    small = [override for override in SMALL if not override.startswith("llm=")]
    with pytest.raises(UserError, match=reason):
        run(tmp_path / "run", *small, "data.interactions=missing.csv", *overrides)
    assert len(asked) == (overrides[0] == "llm=hub")


def test_what_trains_nothing_needs_no_step(tmp_path):
    with pytest.raises(UserError, match=r"missing\.csv"):
        run(tmp_path / "run", *NO_METHOD, "model=zero_shot", "data.interactions=missing.csv", "trainer.max_epochs=0")


def test_more_devices_than_there_are_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"trainer\.devices=4: PyTorch finds 1 CUDA device"):
        run(tmp_path / "run", *SMALL, "data.interactions=missing.csv", "trainer=ddp", "trainer.devices=4")


@pytest.mark.parametrize(("gib", "tokens"), [(141, 65_536), (80, 40_960), (24, 12_288), (6, 4096)])
def test_the_token_budget_suits_the_memory_of_a_gpu(gib, tokens, monkeypatch):
    memory = SimpleNamespace(total_memory=gib * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: memory)
    assert devices.token_budget(torch.device("cuda")) == tokens


def test_on_a_cpu_it_is_small_and_one_line_tells_what_was_chosen(tables, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    outcome = run(tmp_path / "auto", *NO_METHOD, *tables, "row=zero_shot", "evaluation.draws=2")
    assert outcome.method.datamodule.batching.token_budget == devices.CPU_TOKENS
    lines = [record.message for record in caplog.records if record.message.startswith("on cpu: ")]
    assert lines == ["on cpu: llm.dtype=float32, llm.compiled=false, evaluation.token_budget=4096"]


def test_a_token_budget_that_is_asked_for_stays(tables, tmp_path):
    overrides = ("row=zero_shot", "evaluation.draws=2", "evaluation.token_budget=100")
    assert run(tmp_path, *NO_METHOD, *tables, *overrides).method.datamodule.batching.token_budget == 100
