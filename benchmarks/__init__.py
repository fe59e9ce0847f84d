"""Measures this project against others, and writes the pages of what was measured."""
