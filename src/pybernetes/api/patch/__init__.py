"""Patch algebra: JSON patch, merge patch, strategic merge patch, apply."""
