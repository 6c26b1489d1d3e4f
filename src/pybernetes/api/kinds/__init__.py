"""Defaulting, preparation and validation, one file per family of kinds."""
