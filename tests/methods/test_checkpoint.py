import pytest
import torch

from recsys_lora.methods.checkpoint import load_checkpoint, open_checkpoint, trained_state
from recsys_lora.utils.errors import UserError
from tests.methods import factory
from tests.methods.asking import prompts_for
from tests.methods.synthetic import WORDS, prepared


@pytest.fixture(scope="module")
def world():
    return prepared(users=20, items=20, rows_each=12, dim=2, titles=[f"Film {n}" for n in range(20)])


@pytest.fixture(scope="module")
def saved(world, tmp_path_factory):
    module = factory.cora(*world)
    datamodule = module.datamodule(world[0], WORDS, seed=0)
    trainer = factory.trainer(max_steps=2)
    trainer.fit(module, datamodule)
    path = tmp_path_factory.mktemp("saved") / "last.ckpt"
    trainer.save_checkpoint(path)
    return path, module


def test_a_loaded_module_scores_as_the_saved_one(world, saved):
    path, module = saved
    other = factory.cora(*world, seed=9)
    load_checkpoint(path, other, other.identity)
    assert other.vector_scale.user == module.vector_scale.user != 1
    batch = prompts_for(module, world[0], world[0].rows("test")).batch(range(5), 0, "right")
    assert torch.equal(other.eval()(batch), module.eval()(batch))


def test_a_checkpoint_is_plain_and_holds_only_what_was_trained(saved):
    path, module = saved
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["identity"] == module.identity
    trained = {name for name, p in module.named_parameters() if p.requires_grad}
    expected = trained | {"vector_scale.user", "vector_scale.item"}
    assert set(checkpoint["state_dict"]) == expected == set(trained_state(module))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"identity": {"data": "another", "encoder": "table"}}, "another data: .*synthetic-0.*another"),
        ({"identity": {"data": "synthetic-0", "encoder": "sasrec"}}, "another encoder: .*table.*sasrec"),
        ({"name": "cora2"}, "another method"),
        ({"rank": 4}, "does not fit the method's options: .*model"),
        ({"targets": ["q_proj"]}, "tensors differ.*model"),
    ],
    ids=str,
)
def test_what_belongs_elsewhere_is_refused(world, saved, change, reason):
    module = factory.cora(*world, **change)
    before = {name: value.clone() for name, value in trained_state(module).items()}
    with pytest.raises(UserError, match=reason):
        load_checkpoint(saved[0], module, module.identity)
    assert all(torch.equal(value, before[name]) for name, value in trained_state(module).items())


def test_another_backbone_is_refused_on_resume_too(world, saved):
    data, encoder = world
    titles = factory.backbone(prepared(users=20, items=20, rows_each=12, dim=2, titles=["Other words"] * 20)[0])
    module = factory.cora(data, encoder, backbone=titles)
    with pytest.raises(UserError, match="another backbone"):
        factory.trainer(max_steps=3).fit(module, module.datamodule(data, WORDS, seed=0), ckpt_path=saved[0])


def test_another_precision_of_the_same_backbone_is_welcome(world, saved):
    module = factory.cora(*world)
    module.identity["backbone"].pop("dtype", None)
    assert "dtype" not in module.identity["backbone"]
    load_checkpoint(saved[0], module, module.identity)


@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint", "pickle"])
def test_what_is_no_checkpoint_is_refused_with_its_path(world, tmp_path, content):
    path = tmp_path / "some.ckpt"
    if content == "pickle":
        torch.save({"state_dict": {}, "identity": object}, path)
    elif content is not None:
        path.write_bytes(content)
    module = factory.cora(*world)
    with pytest.raises(UserError, match=r"some.ckpt"):
        load_checkpoint(path, module, module.identity)


def test_a_checkpoint_of_another_program_is_refused(world, tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    module = factory.cora(*world)
    with pytest.raises(UserError, match="not written by recsys_lora"):
        load_checkpoint(tmp_path / "other.ckpt", module, module.identity)


def test_a_damaged_checkpoint_is_one_line_and_never_other_numbers(saved, tmp_path):
    content, path = saved[0].read_bytes(), tmp_path / "last.ckpt"
    expected = open_checkpoint(saved[0])["state_dict"]
    harmed = [content[:end] for end in range(0, len(content), len(content) // 60)]
    for place in range(7, len(content), len(content) // 150):
        flipped = bytearray(content)
        flipped[place] ^= 1 << (place % 8)
        harmed.append(bytes(flipped))
    refused = 0
    for harm in harmed:
        path.write_bytes(harm)
        try:
            found = open_checkpoint(path)["state_dict"]
        except UserError as error:
            refused += 1
            lines = str(error).splitlines()
        else:  # a flip between the archive's members
            lines = []
            assert found.keys() == expected.keys()
            assert all(torch.equal(found[name], expected[name]) for name in expected)
        assert len(lines) <= 1
    assert refused > len(harmed) * 0.8


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], "no tensors by name"),
        ("text", "no tensors by name"),
        (torch.zeros(3), "no tensors by name"),
        ({"epoch": 1}, "no tensors by name"),
        ({"state_dict": {"w": 1.0}}, "no tensors by name"),
        ({"state_dict": {"w": torch.tensor([1.0, float("nan")])}}, "w holds values that are not finite"),
        ({"state_dict": {"w": torch.tensor([float("inf")])}}, "w holds values that are not finite"),
    ],
    ids=str,
)
def test_what_holds_no_weights_is_refused(tmp_path, content, words):
    torch.save(content, tmp_path / "odd.ckpt")
    with pytest.raises(UserError, match=words):
        open_checkpoint(tmp_path / "odd.ckpt")
