"""Words that depend on a number."""


def counted(count: int, one: str) -> str:
    """Write a number and what it counts, given the word for one: `1 user`, `1,204 users`."""
    return f"{count:,} {one}{'' if count == 1 else 's'}"
