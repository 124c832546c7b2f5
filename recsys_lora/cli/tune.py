"""`python -m recsys_lora.tune`: search the space of `hparams_search`, and write the best as an experiment."""

import importlib.util

from omegaconf import DictConfig

from recsys_lora.cli.main import launch
from recsys_lora.errors import UserError


def task(cfg: DictConfig) -> None:
    """Run one search; heavy imports happen here, after the command line has been understood.

    Raises:
        UserError: no space was chosen, or a package of the extra `tune` is missing.
    """
    if "search" not in cfg:
        raise UserError("there is no space to search: choose one, as hparams_search=cora")
    for package in ("optuna", "matplotlib"):
        if importlib.util.find_spec(package) is None:
            raise UserError(f"{package} is not installed: pip install 'recsys-lora[tune]'")
    from recsys_lora.search.trials import run_search

    run_search(cfg)


def main() -> None:
    """Run the command line."""
    launch(task)


if __name__ == "__main__":
    main()
