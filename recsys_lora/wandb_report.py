"""`python -m recsys_lora.wandb_report`: the same as `recsys-lora wandb-report`."""

from recsys_lora.cli.wandb_report import main

if __name__ == "__main__":
    main()
