"""Prompts: text with named slots, tokenised once."""
