"""A trained run in use: scores, lists and explanations for users and items, by raw ids."""

from recsys_lora.recommender.queries import UnknownIdError
from recsys_lora.recommender.recommender import Recommender

__all__ = ["Recommender", "UnknownIdError"]
