"""Exported files in programs that others wrote for browsers and for Node.js."""
