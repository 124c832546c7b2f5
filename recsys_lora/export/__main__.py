"""`python -m recsys_lora.export`: the same as `recsys-lora export`."""

from recsys_lora.cli.export import main

if __name__ == "__main__":
    main()
