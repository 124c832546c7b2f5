"""A trained run in use: scores, lists and explanations for people and items, by raw ids."""
