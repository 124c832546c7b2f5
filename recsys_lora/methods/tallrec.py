"""TALLRec: LoRA on text prompts, with nothing collaborative in them.

Source: TALLRec, RecSys 2023, arXiv 2305.00447; as CoLLM's authors run it, it is also the first stage of CoLLM.
"""

from recsys_lora.methods.lora import LoRATuned


class TALLRec(LoRATuned):
    """A backbone tuned by LoRA on what the prompt says; its arguments are `LoRATuned`'s."""
