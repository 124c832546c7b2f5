"""The processes of a run: who started them, how they connect, which signals end them."""
