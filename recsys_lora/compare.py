"""`python -m recsys_lora.compare`: the same as `recsys-lora compare`."""

from recsys_lora.cli.compare import main

if __name__ == "__main__":
    main()
