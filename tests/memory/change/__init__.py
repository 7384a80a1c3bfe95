"""Changing the embedding model."""
