"""`python -m recsys_lora.runs`: the same as `recsys-lora runs`."""

from recsys_lora.cli.runs import main

if __name__ == "__main__":
    main()
