"""Which processes do the work of a run: who started them, how they meet, which signals end them."""
