"""Admission plug-ins, one file each; the order is the table."""
