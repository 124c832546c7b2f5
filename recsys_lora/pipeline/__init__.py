"""Prepare -> fit CF -> fit method -> test -> report; each stage's result is an artifact named by its content."""
