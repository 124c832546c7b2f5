"""Metrics as pure functions on arrays, and the statistics over them: bootstrap, paired tests, baselines, stacking."""
