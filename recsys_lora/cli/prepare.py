"""`recsys-lora prepare`: prepare a data set only, and print what was made and dropped."""

from omegaconf import DictConfig

from recsys_lora.cli.launch import launch


def task(cfg: DictConfig) -> None:
    """Prepare one data set; heavy imports happen here, after the command line has been parsed."""
    from recsys_lora.config.edge import read_preparation
    from recsys_lora.pipeline.preparation import run_preparation

    run_preparation(read_preparation(cfg))


def main() -> None:
    """Run the command line."""
    launch(task, config_name="prepare", about="prepare")
