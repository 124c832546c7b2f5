"""Jobs of a multirun in processes of their own: side by side on this machine, or on a SLURM cluster."""

failures: list[str] = []
"""Why jobs that this command has run in other processes failed, a line each."""
