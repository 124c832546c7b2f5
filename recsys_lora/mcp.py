"""`python -m recsys_lora.mcp`: the same as `recsys-lora mcp`."""

from recsys_lora.cli.mcp import main

if __name__ == "__main__":
    main()
