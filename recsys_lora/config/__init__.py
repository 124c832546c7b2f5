"""The edge where Hydra's configs end: the command line face, its hints, and the check of every value."""
