"""The language model: loaded from anywhere, frozen, scored through chosen rows of its head."""
