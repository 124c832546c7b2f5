"""Exports of a trained run: adapters for peft and inference engines, merged models, vectors, bundles."""
