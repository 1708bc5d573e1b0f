"""Rendered soccer frames: data sets to try things on."""
