"""Registers the resolvers of the configs: Hydra imports all modules of `hydra_plugins` before composing a config."""

from recsys_lora.config.resolvers import register

register()
