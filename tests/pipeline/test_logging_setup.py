"""What libraries say in every run and nobody can act on is left out; all else is heard."""

import logging
import warnings

import pytest
import yaml

from recsys_lora.config.paths import conf_dir
from recsys_lora.pipeline.logging_setup import quiet_libraries

KERNELS = ["Memory Efficient attention", "Flash Attention", "cuDNN Attention"]


@pytest.mark.parametrize("kernel", KERNELS)
def test_attention_without_a_deterministic_backward_is_no_news(kernel):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        quiet_libraries()
        warnings.warn(f"{kernel} defaults to a non-deterministic algorithm. To enable ...", UserWarning, stacklevel=1)
        warnings.warn("index_add_ does not have a deterministic implementation", UserWarning, stacklevel=1)
    assert [str(each.message)[:9] for each in heard] == ["index_add"]


def test_a_font_cache_is_no_news():
    levels = yaml.safe_load((conf_dir() / "hydra/job_logging/recsys_lora.yaml").read_text())["loggers"]
    assert logging.getLevelName(levels["matplotlib"]["level"]) > logging.INFO
