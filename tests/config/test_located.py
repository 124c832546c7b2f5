"""What a dotted name names, and what is said where it names nothing."""

import logging

import pytest

from recsys_lora.config.check import imported
from recsys_lora.config.located import located
from recsys_lora.utils.errors import UserError


def test_a_name_is_what_it_names():
    assert located("recsys_lora.utils.errors.UserError") is UserError


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("my_own.text_lora.TextLora", "my_own.text_lora has no TextLora: did you mean TextLoRA?"),
        ("my_own.text_lora.Qx", "my_own.text_lora has no Qx: valid: TextLoRA"),
        ("my_own.text_lroa.TextLoRA", "No module named 'my_own.text_lroa'"),
        ("my_own.broken.Any", "No module named 'torhc'"),
        ("my_ownn.text_lora.TextLoRA", "No module named 'my_ownn'"),
    ],
)
def test_what_cannot_be_imported_is_one_line(tmp_path, monkeypatch, caplog, target, said):
    (tmp_path / "my_own").mkdir()
    (tmp_path / "my_own" / "text_lora.py").write_text("import torch\n\nclass TextLoRA:\n    pass\n")
    (tmp_path / "my_own" / "broken.py").write_text("import torhc\n\nclass Any:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with caplog.at_level(logging.DEBUG), pytest.raises(UserError) as refusal:
        imported(target, "model")
    line = str(refusal.value)
    assert line.startswith(f"model._target_={target}: cannot be imported (")
    assert said in line
    assert line.endswith("PYTHONPATH")
    assert caplog.text == ""
