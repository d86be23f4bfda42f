"""Flat light and foreground: what stands out of the empty slide.

Light is flattened by a smooth model of the empty background; what remains is absorbance
(Beer-Lambert), which adds up where cells overlap and does not depend on the lamp.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.prepare.area_shrink import area_shrink
from edge_malaria.records import Image, Mask

FloatMap = NDArray[np.float32]


def halved(image: Image, side_px: int) -> Image:
    """``image`` halved as long as its longer side stays at or above ``side_px``.

    The first steps of ``shrink``: shrinking it further gives the bits that ``image`` itself gives
    for any size up to its own.
    """
    while max(image.shape[:2]) >= 2 * side_px and min(image.shape[:2]) > 1:
        rows, columns = image.shape[0] // 2, image.shape[1] // 2
        even = image[: 2 * rows, : 2 * columns]
        image = np.asarray(cv2.resize(even, (columns, rows), interpolation=cv2.INTER_AREA))
    return image


def shrink(image: Image, factor: float) -> Image:
    """``image`` scaled by ``factor`` (> 0), averaging areas where it shrinks.

    Halving is several times faster than any other factor, so it goes as far as it can.
    """
    height, width = image.shape[:2]
    return shrink_to(image, (max(1, round(width * factor)), max(1, round(height * factor))))


def shrink_to(image: Image, size: tuple[int, int]) -> Image:
    """``shrink`` to a ``size`` (width, height) in px."""
    shrinks = size[0] < image.shape[1]
    while image.shape[1] >= 2 * size[0] and image.shape[0] >= 2 * size[1]:
        rows, columns = image.shape[0] // 2, image.shape[1] // 2
        even = image[: 2 * rows, : 2 * columns]
        image = np.asarray(cv2.resize(even, (columns, rows), interpolation=cv2.INTER_AREA))
    if size == (image.shape[1], image.shape[0]):
        return image
    if shrinks:
        return area_shrink(image, size)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR_EXACT), np.uint8)


def background(image: Image) -> FloatMap:
    """The empty slide's light at every pixel.

    The bright end of each tile of a 12 x 12 grid is fitted by a quadratic surface; tiles full of
    cells lie below the surface and lose their weight over the iterations.

    Args:
        image: uint8 [H, W, 3] RGB.

    Returns:
        float32 [H, W, 3], 1-255.
    """
    grid = 12
    small = area_shrink(image, (grid * 8, grid * 8))
    blocks = small.reshape(grid, 8, grid, 8, 3).transpose(0, 2, 1, 3, 4).reshape(grid**2, 64, 3)
    green = blocks[:, :, 1]
    order = np.argsort(green, axis=1)[:, 54:60]
    bright = np.take_along_axis(blocks, order[:, :, None], axis=1).mean(1).astype(np.float64)
    axis = (np.arange(grid) + 0.5) / grid - 0.5
    y, x = (a.ravel() for a in np.meshgrid(axis, axis, indexing="ij"))
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], 1)
    weight = np.ones(grid**2)
    weight[bright[:, 1] < 0.6 * np.percentile(bright[:, 1], 90)] = 0.02
    for _ in range(6):
        root = np.sqrt(weight)[:, None]
        ridge = 0.05 * np.diag([0.0, 1, 1, 3, 3, 3])
        left = (terms * root).T @ (terms * root) + ridge
        surface = np.linalg.solve(left, (terms * root).T @ (bright * root))
        rest = bright[:, 1] - terms @ surface[:, 1]
        spread = max(2.0, 1.5 * float(np.median(np.abs(rest))))
        # A tile below the surface holds cells; one above it is background all the same.
        weight = np.where(rest < 0, 1 / (1 + (rest / spread) ** 2), 1.0)
    coarse = (terms @ surface).reshape(grid, grid, 3).astype(np.float32)
    full = np.asarray(cv2.resize(coarse, image.shape[1::-1], interpolation=cv2.INTER_LINEAR))
    return np.asarray(np.clip(full, 1.0, 255.0, out=full), np.float32)


def absorbance(image: Image) -> FloatMap:
    """How much light each pixel takes away, per channel: float32 [H, W, 3], 0 on empty slide."""
    # In place: fresh memory costs as much as the sums themselves.
    taken = background(image)
    np.log(taken, out=taken)
    taken -= cv2.LUT(image, np.log(np.maximum(np.arange(256), 1)).astype(np.float32))
    return np.maximum(taken, 0.0, out=taken)


def strongest(channels: FloatMap) -> FloatMap:
    """The largest of three channels: float32 [H, W] from [H, W, 3]; faster than numpy's maximum."""
    red, green, blue = cv2.split(channels)
    return np.asarray(cv2.max(cv2.max(red, green), blue), np.float32)


def _threshold(signal: FloatMap) -> float:
    """Otsu's threshold between background and cells, pulled towards the background.

    Cell edges are fainter than their middle, so the cut lies below the halfway point.
    """
    top = float(np.percentile(signal, 99))
    if not (top > 0.02):
        return float("inf")
    grey = np.clip(signal * (255.0 / top), 0, 255).astype(np.uint8)
    cut, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    low = signal[grey <= cut]
    high = signal[grey > cut]
    if low.size == 0 or high.size == 0:
        return float("inf")
    ground, cells = float(np.median(low)), float(np.median(high))
    return max(0.02, ground + 0.42 * (cells - ground))


def foreground(signal: FloatMap) -> Mask:
    """Cells with their pale centres still open: bool [H, W] from absorbance [H, W]."""
    return np.asarray(signal > _threshold(signal), np.bool_)


def fill_centres(mask: Mask, largest_px: float) -> Mask:
    """Closes pale centres: round holes up to ``largest_px`` area; gaps between cells stay open.

    A gap between touching discs is concave, a pale centre is convex: solidity tells them apart.
    """
    filled = mask.astype(np.uint8)
    holes, tree = cv2.findContours(filled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if tree is None:
        return mask
    for contour, node in zip(holes, tree[0], strict=True):
        if node[3] < 0:
            continue
        area = max(float(cv2.contourArea(contour)), 1.0)
        if area > largest_px:
            continue
        hull = max(float(cv2.contourArea(cv2.convexHull(contour))), 1.0)
        if area < 0.12 * largest_px or area / hull > 0.82:
            cv2.drawContours(filled, [contour], -1, 1, cv2.FILLED)
    return np.asarray(filled > 0, np.bool_)
