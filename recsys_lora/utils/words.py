"""Words that depend on a number."""


def counted(count: int, one: str, many: str | None = None) -> str:
    """Write a number and what it counts: `1 user`, `1,204 users`.

    Args:
        count: how many.
        one: the word for one.
        many: for any other number; None adds an s.
    """
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
