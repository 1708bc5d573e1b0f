"""A soccer match drawn from geometry alone: one file per thing that a broadcast camera sees.

World frame: metres, origin on the centre spot, x along the pitch, y away from the camera's stand, z up.
Image frame: px, continuous, (0, 0) the outer corner of the first pixel, whose centre is (0.5, 0.5). Colours are RGB.
"""
