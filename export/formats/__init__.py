"""Formats of an export: each module writes the files of one format."""
