"""Prompts: text with named slots, tokenised once."""

from recsys_lora.prompts.template import Example, Template

__all__ = ["Example", "Template"]
