"""Codes as text, against the standard library's own writing of addresses."""

import ipaddress

import numpy as np
import pytest
import torch

from recsys_lora.methods.codes import check_width, written_codes
from recsys_lora.utils.errors import UserError

ADDRESS = "10101100000100001111111000000001"


def code(text):
    return torch.tensor([[1.0 if digit == "1" else -1.0 for digit in text]])


def test_an_address():
    assert written_codes(code(ADDRESS), "bits") == [ADDRESS]
    assert written_codes(code(ADDRESS), "dot_decimal") == ["172.16.254.1"]


def test_any_code_of_32_bits_is_written_as_an_address_is():
    texts = ["".join(row) for row in np.random.default_rng(0).choice(["0", "1"], (50, 32))]
    codes = torch.cat([code(text) for text in texts])
    assert written_codes(codes, "bits") == texts
    assert written_codes(codes, "dot_decimal") == [str(ipaddress.IPv4Address(int(text, 2))) for text in texts]


def test_one_group_and_odd_widths():
    assert written_codes(code("00000101"), "dot_decimal") == ["5"]
    assert written_codes(code("011"), "bits") == ["011"]
    assert written_codes(torch.zeros(0, 8), "dot_decimal") == []


@pytest.mark.parametrize("value", [0.0, 0.5, 2.0, float("nan")])
def test_vectors_that_are_no_codes_are_refused(value):
    vectors = code("0110")
    vectors[0, 2] = value
    with pytest.raises(UserError, match=r"no binary codes.*cf=binary_mf"):
        written_codes(vectors, "bits")


def test_dot_decimal_needs_whole_groups():
    check_width(12, "bits")
    check_width(24, "dot_decimal")
    with pytest.raises(UserError, match=r"12: make cf\.encoder\.dim a multiple of 8, or model\.code=bits"):
        check_width(12, "dot_decimal")
    with pytest.raises(UserError, match="multiple of 8"):
        written_codes(code("011"), "dot_decimal")
