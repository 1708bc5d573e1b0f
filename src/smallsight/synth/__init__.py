"""Rendered soccer frames: synthetic data sets for trials and tests."""
