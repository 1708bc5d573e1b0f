"""Examine a data set before training: what is wrong with it, and which resolution its objects need."""
