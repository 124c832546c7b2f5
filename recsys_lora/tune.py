"""`python -m recsys_lora.tune`: the same as `recsys-lora tune`."""

from recsys_lora.cli.tune import main

if __name__ == "__main__":
    main()
