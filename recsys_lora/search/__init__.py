"""Hyperparameter search: a space, a study of trials, and their results."""
