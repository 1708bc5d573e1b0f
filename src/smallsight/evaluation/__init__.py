"""Detections and truth to figures with intervals."""
