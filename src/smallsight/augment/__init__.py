"""Augmentation of training samples, geometric and photometric: pure functions of arrays and a random generator."""
