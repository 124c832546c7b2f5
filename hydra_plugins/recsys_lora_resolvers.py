"""Registers the resolvers of the configs: Hydra imports every module of `hydra_plugins` before it composes one."""

from recsys_lora.config.resolvers import register

register()
