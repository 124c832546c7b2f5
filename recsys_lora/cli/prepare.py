"""`python -m recsys_lora.prepare`: prepare a data set alone and print what was made and dropped."""

from omegaconf import DictConfig

from recsys_lora.cli.main import launch


def task(cfg: DictConfig) -> None:
    """Prepare one data set; heavy imports happen here, after the command line has been understood."""
    from recsys_lora.pipeline.preparation import run_preparation

    run_preparation(cfg)


def main() -> None:
    """Run the command line."""
    launch(task, config_name="prepare")


if __name__ == "__main__":
    main()
