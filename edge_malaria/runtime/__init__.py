"""The device: sources, quality, cells, classification, slide statistics. numpy and OpenCV only."""
