"""Files to samples: COCO folders, decoded frames, synthetic frames."""
