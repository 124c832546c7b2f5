"""A recorded config may name what is defined in this package, torch.optim and Lightning, and what a person trusts."""

import pytest

from recsys_lora.config.trust import check_targets, packages
from recsys_lora.utils.errors import UserError
from tests.jobs import resolved


@pytest.mark.parametrize("overrides", [["model=cora"], ["model=ckf", "tasks=null"], ["model=collm", "trainer=fsdp"]])
def test_what_conf_names_is_trusted(overrides):
    check_targets(resolved(*overrides, "logger=wandb"))


@pytest.mark.parametrize(
    ("key", "target", "said"),
    [
        ("model", "os.system", "runs code of os"),
        ("model", "recsys_lora_evil.Method", "runs code of recsys_lora_evil"),
        ("model", "recsys_lora.processes.group.subprocess.Popen", "runs code of subprocess"),
        ("callbacks", "recsys_lora.cli.local.os.system", "runs code of posix"),
        ("callbacks", "lightning.os.system", "runs code of posix|there is no such code"),
        ("trainer", "torch.hub.load", "runs code of torch"),
        ("model", "lightning.Trainer", "runs code of lightning"),
        ("cf.encoder", "recsys_lora.utils.files.write_text", "a function is called where a class belongs"),
        ("task.ctr", "recsys_lora.no_such.Thing", "there is no such code"),
        ("model", "recsys_lora.utils.files", "runs code of None"),
    ],
)
def test_what_is_defined_elsewhere_is_not_however_it_is_reached(key, target, said):
    config = {"list": [{"_target_": target, "args": ["touch ran"]}]}
    for part in reversed(key.split(".")):
        config = {part: config}
    with pytest.raises(UserError, match=said) as refusal:
        check_targets(config)
    assert str(refusal.value).startswith(f"{key}.list[0]._target_={target}: ")


def test_a_person_s_own_packages_are_trusted_by_name():
    config = {"model": {"_target_": "my_package.methods.Mine"}}
    check_targets(config, packages("other, my_package"))
    with pytest.raises(UserError, match=r"trust=my_package .*--trust my_package; Python: trust=\['my_package'\]"):
        check_targets(config, packages("my_pack"))
    assert packages(None) == packages("") == ()
