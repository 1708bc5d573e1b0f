"""The detectors behind one contract, `base.Detector`."""
