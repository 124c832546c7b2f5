"""The tasks of a language model: which rows become questions, their answers, and how they are evaluated."""

from recsys_lora.tasks.ctr import ClickThrough
from recsys_lora.tasks.explanation import Explanation
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.rating import Rating
from recsys_lora.tasks.review_rating import ReviewRating
from recsys_lora.tasks.scale import RatingScale
from recsys_lora.tasks.task import Task, TaskOptions
from recsys_lora.tasks.topk import TopK

__all__ = [
    "ClickThrough",
    "Explanation",
    "Questions",
    "Rating",
    "RatingScale",
    "ReviewRating",
    "Task",
    "TaskOptions",
    "TopK",
]
