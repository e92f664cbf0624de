"""Helpers for output files: atomic writes and Markdown tables. They import nothing else of hf_alphavil."""
