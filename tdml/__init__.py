"""TDML: trustworthy distributed machine learning (after arXiv 2407.07339)."""

__version__ = "0.1.0"
