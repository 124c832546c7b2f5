"""`python -m recsys_lora.run`: the same as `recsys-lora run`."""

from recsys_lora.cli.run import main

if __name__ == "__main__":
    main()
