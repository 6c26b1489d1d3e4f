"""What the terminal shows: progress, tables, messages."""

from .progress import Progress, plain_table

__all__ = ["Progress", "plain_table"]
