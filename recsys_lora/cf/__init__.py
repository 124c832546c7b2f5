"""Collaborative encoders: ids and histories become vectors, vectors become scores."""

from recsys_lora.cf.binary_mf import BinaryMF
from recsys_lora.cf.din import DIN
from recsys_lora.cf.dot import DotProductEncoder
from recsys_lora.cf.encoder import Catalogue, CollaborativeEncoder
from recsys_lora.cf.fit import fit_encoder, load_encoder, save_encoder, score_rows
from recsys_lora.cf.lightgcn import LightGCN
from recsys_lora.cf.mf import MF
from recsys_lora.cf.module import CFModule
from recsys_lora.cf.sasrec import SASRec
from recsys_lora.cf.settings import FitSettings

__all__ = [
    "DIN",
    "MF",
    "BinaryMF",
    "CFModule",
    "Catalogue",
    "CollaborativeEncoder",
    "DotProductEncoder",
    "FitSettings",
    "LightGCN",
    "SASRec",
    "fit_encoder",
    "load_encoder",
    "save_encoder",
    "score_rows",
]
