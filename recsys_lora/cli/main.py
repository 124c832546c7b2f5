"""`recsys-lora VERB ...`: one command; `python -m recsys_lora VERB` does the same."""

import importlib
import sys

from recsys_lora.cli.user_errors import MISTAKE, exit_on_user_error, plain_output
from recsys_lora.utils.errors import UserError

VERBS = {
    "run": "prepare, fit the CF model, train the method, test, report; -m runs a sweep",
    "prepare": "prepare a data set alone",
    "compare": "make one table of finished runs",
    "runs": "list the runs in a folder",
    "report": "draw finished runs: one HTML page",
    "recommend": "recommend items to users of a finished run",
    "serve": "answer over HTTP for a finished run, with a page",
    "mcp": "offer a finished run as tools to assistants",
    "export": "take a finished run out of the framework: adapters, models, vectors, bundles",
    "tune": "search hyperparameters",
    "wandb-report": "save a view in W&B that compares runs",
}
USAGE = "\n".join(
    [
        "recsys-lora VERB ...: collaborative signal for language models",
        "",
        *(f"  {verb:<14}{purpose}" for verb, purpose in VERBS.items()),
        "",
        "recsys-lora VERB --help says more.",
    ]
)


def main() -> None:
    """Run the command line."""
    given = sys.argv[1:]
    if not given or given[0] in ("-h", "--help"):
        with plain_output():
            print(USAGE)  # noqa: T201 - this is the command line
        raise SystemExit(0 if given else MISTAKE)
    with exit_on_user_error():
        module = importlib.import_module(f"recsys_lora.cli.{known(given[0]).replace('-', '_')}")
    sys.argv = [f"{sys.argv[0]} {given[0]}", *given[1:]]
    module.main()


def known(verb: str) -> str:
    """Return a verb.

    Raises:
        UserError: it is none; the line names the nearest, or for an override the verb that takes it.
    """
    if verb in VERBS:
        return verb
    if "=" in verb or verb.startswith("-"):
        raise UserError(f"{verb}: a verb comes first: recsys-lora run {verb} ...")
    from recsys_lora.config.hints import suggestion

    raise UserError(f"{verb}: no such verb: {suggestion(verb, list(VERBS))}")
