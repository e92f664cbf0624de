"""Pushes to the Hugging Face Hub: what a repository holds, and what is said if a push fails."""

from .mixin import PublishingMixin

__all__ = ["PublishingMixin"]
