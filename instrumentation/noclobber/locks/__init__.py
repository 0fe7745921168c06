"""Hooks into client libraries, one small module each; loaded when the library is."""
