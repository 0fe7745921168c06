"""Causality between processes: the strand that travels with a request, and the one that comes back."""
