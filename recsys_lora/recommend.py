"""`python -m recsys_lora.recommend`: the same as `recsys-lora recommend`."""

from recsys_lora.cli.recommend import main

if __name__ == "__main__":
    main()
