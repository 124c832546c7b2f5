"""The one exception that stands for a user's mistake."""


class UserError(Exception):
    """Bad input: the message is one line that says what is wrong, where, and what to do.

    Only the outermost command-line face catches it and prints it; everything below lets it pass, so that one bad job
    of a sweep does not end the others.
    """
