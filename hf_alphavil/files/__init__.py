"""Helpers for files: writing, safe reading, YAML and Markdown tables. They import nothing else of hf_alphavil."""
