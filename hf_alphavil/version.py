"""The version of the package, in one place, and those of the libraries that it rests on."""

__version__ = "0.1.0"


def library_versions() -> dict[str, str]:
    """`dict[str, str]`: The versions of torch, transformers and accelerate."""
    import accelerate
    import torch
    import transformers

    return {library.__name__: library.__version__ for library in (torch, transformers, accelerate)}
