"""Finished runs for the tests of this folder."""

from tests.finished import finished_runs, loaded  # noqa: F401
