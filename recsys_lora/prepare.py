"""`python -m recsys_lora.prepare`: the same as `recsys-lora prepare`."""

from recsys_lora.cli.prepare import main

if __name__ == "__main__":
    main()
