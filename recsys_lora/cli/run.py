"""`python -m recsys_lora.run`: prepare, fit the CF model, train the method, test, report."""

from omegaconf import DictConfig

from recsys_lora.cli.main import launch
from recsys_lora.errors import UserError


def task(cfg: DictConfig) -> None:
    """Run one job; heavy imports happen here, after the command line has been understood.

    Raises:
        UserError: a space to search was chosen, of which one job has no use.
    """
    if "search" in cfg:
        raise UserError(
            "hparams_search: a space, not a run: search it with python -m recsys_lora.tune, or leave it out"
        )
    from recsys_lora.pipeline.job import run_job

    run_job(cfg)


def main() -> None:
    """Run the command line."""
    launch(task)


if __name__ == "__main__":
    main()
