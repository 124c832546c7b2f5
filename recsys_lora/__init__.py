"""Collaborative signal for language models: CoRA, CKF and their peers on one shared frame."""

__version__ = "0.1.0"
