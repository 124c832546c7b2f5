"""`recsys-lora wandb-report RUNS... --project NAME`: save a workspace view in W&B that compares runs by method."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recsys_lora.cli.user_errors import exit_on_user_error
from recsys_lora.utils.errors import UserError, require

if TYPE_CHECKING:
    from recsys_lora.report.wandb_view import Logged


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    made = argparse.ArgumentParser(
        prog="recsys-lora wandb-report",
        description="Save a workspace view in W&B with a panel for every metric that the given runs have logged.",
    )
    made.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="run folders, or folders that hold runs")
    made.add_argument("--project", default="recsys_lora", help="where the runs are in W&B (recsys_lora)")
    made.add_argument("--entity", help="user or team (the account's own)")
    made.add_argument("--group", help="show the runs of this group alone (all of the project)")
    made.add_argument("--name", default="CoRA, CKF and their peers", help="what the view is called")
    made.add_argument(
        "--json", type=Path, metavar="FILE", help="write the view here and send nothing: needs no account"
    )
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit status: 0 success; 2 user error, with one line on standard error."""
    with exit_on_user_error():
        _do(parser().parse_args(arguments))


def _do(asked: argparse.Namespace) -> None:
    require("wandb", "wandb_workspaces", by="wandb_report")
    from recsys_lora.report.wandb_view import as_json, build_workspace, read_logged
    from recsys_lora.utils.console import say
    from recsys_lora.utils.files import write_text

    logged = read_logged(asked.runs)
    if asked.json is not None:
        offline = build_workspace(logged, asked.entity or "", asked.project, asked.name, asked.group)
        write_text(asked.json, as_json(offline))
        say(f"{asked.json}: the view, not sent")
        return
    say(f"saved: {_save(logged, asked)}")


def _save(logged: "Logged", asked: argparse.Namespace) -> str:
    """Save the view in W&B and return its URL; raise a `UserError` if W&B refuses it or nobody is logged in."""
    import requests
    import wandb

    from recsys_lora.report.wandb_view import build_workspace

    try:
        if not wandb.login(prompt=False):
            raise UserError("wandb_report: no W&B account here: wandb login, or --json FILE writes the view to a file")
        entity = asked.entity or wandb.Api().default_entity
        if entity is None:
            raise UserError("wandb_report: the account has no entity of its own: give --entity NAME")
        view = build_workspace(logged, entity, asked.project, asked.name, asked.group)
        view.save()
        return str(view.url)
    except (wandb.errors.Error, requests.RequestException, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"wandb_report: W&B refuses {asked.project}: {reason}: check project, entity, network"
        ) from error
