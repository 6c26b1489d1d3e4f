"""Table rendering: the columns of every kind, and the cells that the API server of Kubernetes computes for `get`."""

from .column import Column, Printer
from .table import PRINTERS, cells, columns_of, row, rows

__all__ = ["PRINTERS", "Column", "Printer", "cells", "columns_of", "row", "rows"]
