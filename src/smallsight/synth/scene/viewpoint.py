"""A pinhole camera on a tripod: pan, tilt and focal length, no lens distortion, no roll."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
NEAR_M = 2.0


@dataclass(frozen=True)
class Camera:
    """Where the camera stands and looks.

    Attributes:
        position: x, y, z, m, world frame.
        pan: rad, 0 looks along +y, positive turns towards +x.
        tilt: rad, positive looks down.
        focal_px: focal length, px.
        size_wh: the frame, px; the optical axis meets its centre.
    """

    position: tuple[float, float, float]
    pan: float
    tilt: float
    focal_px: float
    size_wh: tuple[int, int]

    @cached_property
    def axes(self) -> Array:
        """(3, 3): right, down and forward as rows, world frame."""
        sin_p, cos_p, sin_t, cos_t = math.sin(self.pan), math.cos(self.pan), math.sin(self.tilt), math.cos(self.tilt)
        forward = (sin_p * cos_t, cos_p * cos_t, -sin_t)
        down = (-sin_p * sin_t, -cos_p * sin_t, -cos_t)
        return np.array([(cos_p, -sin_p, 0.0), down, forward])

    @cached_property
    def matrix(self) -> Array:
        """(3, 4) projection of homogeneous world points, m, to image points, px; the third row is depth, m."""
        width, height = self.size_wh
        inner = np.array([(self.focal_px, 0, width / 2), (0, self.focal_px, height / 2), (0, 0, 1.0)])
        outer = np.concatenate([self.axes, -self.axes @ np.array(self.position)[:, None]], axis=1)
        return np.asarray(inner @ outer)

    def depths(self, points: Array) -> Array:
        """(...,) m along the optical axis, of (..., 3) world points."""
        return np.asarray(points @ self.matrix[2, :3] + self.matrix[2, 3])

    def project(self, points: Array) -> Array:
        """(..., 3) world points to (..., 2) px; a point nearer than `NEAR_M` is taken as if it were there."""
        projected = points @ self.matrix[:, :3].T + self.matrix[:, 3]
        return np.asarray(projected[..., :2] / np.maximum(projected[..., 2:], NEAR_M))

    def outline(self, polygon: Array) -> Array:
        """The (M, 2) px outline of an (N, 3) world polygon, cut where it passes the camera; (0, 2) if none is left."""
        depths = self.depths(polygon)
        if (depths >= NEAR_M).all():
            return self.project(polygon)
        kept: list[Array] = []
        for index, (point, depth) in enumerate(zip(polygon, depths, strict=True)):
            before, depth_before = polygon[index - 1], depths[index - 1]
            if (depth >= NEAR_M) != (depth_before >= NEAR_M):
                share = (NEAR_M - depth_before) / (depth - depth_before)
                kept.append(before + share * (point - before))
            if depth >= NEAR_M:
                kept.append(point)
        return self.project(np.array(kept)) if len(kept) > 2 else np.zeros((0, 2))

    def plane(self, origin: Array, along_u: Array, along_v: Array) -> Array:
        """(3, 3) homography to image px from (u, v) on the plane `origin + u * along_u + v * along_v`."""
        columns = [self.matrix[:, :3] @ along_u, self.matrix[:, :3] @ along_v, self.matrix @ np.append(origin, 1.0)]
        return np.stack(columns, axis=1)

    def px_per_m(self, point: Array) -> float:
        """Size in the image, px, of one metre that faces the camera at a world point."""
        return self.focal_px / max(float(self.depths(point)), NEAR_M)


def aimed_at(
    position: tuple[float, float, float],
    target: Array,
    focal_px: float,
    size_wh: tuple[int, int],
    offset_xy: tuple[float, float],
) -> Camera:
    """A camera that shows `target` (world frame) about `offset_xy` px right of and below the centre of its frame."""
    x, y, z = (target - np.array(position)).tolist()
    pan = math.atan2(x, y) - math.atan(offset_xy[0] / focal_px)
    tilt = math.atan2(-z, math.hypot(x, y)) - math.atan(offset_xy[1] / focal_px)
    return Camera(position, pan, tilt, focal_px, size_wh)
