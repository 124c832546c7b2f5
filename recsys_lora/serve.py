"""`python -m recsys_lora.serve`: the same as `recsys-lora serve`."""

from recsys_lora.cli.serve import main

if __name__ == "__main__":
    main()
