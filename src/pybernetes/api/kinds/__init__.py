"""Defaulting, preparation and validation, one file per family of kinds; this face holds the table of strategies."""

from .conversion import CONVERSIONS, Conversion
from .strategy import PLAIN, Strategy
from .table import strategy_of

__all__ = ["CONVERSIONS", "PLAIN", "Conversion", "Strategy", "strategy_of"]
