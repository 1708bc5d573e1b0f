"""One reader and one writer for each way to store a labelled set; all of them speak `base.LabelledSet`."""
