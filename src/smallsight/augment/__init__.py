"""Samples to training samples: geometry and photometry, pure functions of arrays and a generator."""
