"""CoRA: collaborative vectors become low-rank weights of a frozen language model."""
