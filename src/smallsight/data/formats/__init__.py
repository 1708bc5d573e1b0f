"""Readers and writers of label formats; each reads or writes a `labelled_set.LabelledSet`."""
