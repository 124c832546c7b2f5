"""`python -m recsys_lora VERB ...`: the same as `recsys-lora VERB ...`."""

from recsys_lora.cli.main import main

if __name__ == "__main__":
    main()
