"""Marks that several test files use."""

import shutil

import pytest

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler here")
