"""The one exception that stands for a user's mistake, and its lines about packages and other libraries' exceptions."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class UserError(Exception):
    """Bad input: the message is one line that says what is wrong, where, and what to do.

    Only the outermost command line catches it and prints it; everything below lets it pass, so that one bad job
    of a sweep does not end the others.
    """


@contextmanager
def at(place: str) -> Iterator[None]:
    """Prefix a `UserError` of this block with the config key it is about."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}: {error}") from error


from collections.abc import Iterator


def first_problem(error: "ValidationError") -> str:
    """Return where a record is first not of its schema, and why."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"


def refused(key: str, value: object, error: "ValidationError") -> str:
    """Return a line about a setting whose value is not of its type."""
    wanted = {"dict_type": "Input should be names and values, as {name: value}"}
    reasons = dict.fromkeys(wanted.get(detail["type"], detail["msg"]) for detail in error.errors())
    return f"{key}={value}: {' or '.join(reasons)}"
