"""Collaborative encoders: ids and histories become vectors, vectors become scores."""
