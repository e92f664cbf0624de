"""Helpers for files: writing, safe reading, hashes, YAML, Markdown tables. They import nothing else of hf_alphavil."""
