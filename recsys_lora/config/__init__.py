"""The edge where Hydra's configs end: hints for mistakes, and the check of every value."""
