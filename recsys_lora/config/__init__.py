"""Where Hydra's configs become typed records: hints for mistakes, and the check of every value."""
