"""RF-DETR."""
