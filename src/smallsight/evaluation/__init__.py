"""Metrics of detections against the truth, with confidence intervals, and comparisons of them."""
