"""Table rendering: the columns of every kind, and the cells that the API server of Kubernetes computes for `get`."""

from .column import Column, Printer
from .table import API_VERSION, PRINTERS, cells, columns_of, row, table

__all__ = ["API_VERSION", "PRINTERS", "Column", "Printer", "cells", "columns_of", "row", "table"]
