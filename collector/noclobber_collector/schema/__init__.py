"""Numbered migrations of the store, and the shape of the OTLP bytes that it reads."""
