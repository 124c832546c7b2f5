"""Methods: turn prompts and collaborative vectors into scores."""

from recsys_lora.methods.base import LLMRecommender
from recsys_lora.methods.binllm import BinLLM
from recsys_lora.methods.ckf.module import CKFMultiTaskModule
from recsys_lora.methods.collaborative import CollaborativeOnly
from recsys_lora.methods.collm import CoLLM
from recsys_lora.methods.cora.module import CoRAModule
from recsys_lora.methods.graphlora import GraphLoRA
from recsys_lora.methods.icl import InContext
from recsys_lora.methods.lora import LoRA, LoRATuned
from recsys_lora.methods.optimizer import OptimizerSettings
from recsys_lora.methods.person_prompt import PersonPrompt
from recsys_lora.methods.prompt4nr import Prompt4NR
from recsys_lora.methods.shared import Shared
from recsys_lora.methods.tallrec import TALLRec
from recsys_lora.methods.text_similarity import TextSimilarity
from recsys_lora.methods.zero_shot import ZeroShot

__all__ = [
    "BinLLM",
    "CKFMultiTaskModule",
    "CoLLM",
    "CoRAModule",
    "CollaborativeOnly",
    "GraphLoRA",
    "InContext",
    "LLMRecommender",
    "LoRA",
    "LoRATuned",
    "OptimizerSettings",
    "PersonPrompt",
    "Prompt4NR",
    "Shared",
    "TALLRec",
    "TextSimilarity",
    "ZeroShot",
]
