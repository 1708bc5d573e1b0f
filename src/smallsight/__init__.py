"""smallsight: lift the small-object AP of a detector, unattended, and know whether the lift is real."""

__version__ = "0.1.0"
