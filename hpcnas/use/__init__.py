"""Runs and finished models from Python, as docs/library.md shows them."""
