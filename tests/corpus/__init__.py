"""Recorded exceptions, and what rebuilds them."""
