"""The history that is judged: every access once, with what is known about how complete the record is."""

from noclobber_analyzer.access import Access, Mark, Process

__all__ = ["Access", "Mark", "Process"]
