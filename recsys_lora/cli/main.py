"""`recsys-lora VERB ...`: one command; `python -m recsys_lora VERB` does the same."""

import importlib
import sys

from recsys_lora.cli.user_errors import MISTAKE, exit_on_user_error, plain_output
from recsys_lora.utils.errors import UserError

VERBS = {
    "run": "train and test a model; with -m several (a sweep)",
    "prepare": "read, filter and split a data set, and say what was made",
    "tune": "search hyperparameters on validation rows",
    "runs": "list runs, newest first",
    "compare": "compare runs in one table, with tests over users",
    "report": "draw one or several runs as an HTML page",
    "recommend": "write a run's recommendations for its users to a file",
    "serve": "serve a run over HTTP, with a web page",
    "mcp": "offer a run to assistants as MCP tools",
    "export": "write a run as a bundle, an adapter, a merged model or vectors",
    "wandb-report": "save a view of runs in W&B",
}
USAGE = "\n".join(
    [
        "recsys-lora VERB ...: collaborative signal for language models",
        "",
        *(f"  {verb:<14}{purpose}" for verb, purpose in VERBS.items()),
        "",
        "recsys-lora VERB --help says more. A first run: recsys-lora run experiment=demo",
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
    """Check a verb and return it.

    Raises:
        UserError: it is unknown; the message names the nearest, or for an override the verb that takes it.
    """
    if verb in VERBS:
        return verb
    if "=" in verb or verb.startswith("-"):
        raise UserError(f"{verb}: a verb comes first: recsys-lora run {verb} ...")
    from recsys_lora.config.hints import suggestion

    raise UserError(f"{verb}: no such verb: {suggestion(verb, list(VERBS))}")
