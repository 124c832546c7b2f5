"""Metrics as pure functions on arrays, and the same wrapped for training loops."""
