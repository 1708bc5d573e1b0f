"""Labelled data: read and check a set, convert it, split it, and decode its frames."""
