"""A trained run out of the framework: adapters for peft and inference engines, merged models, vectors, bundles."""
