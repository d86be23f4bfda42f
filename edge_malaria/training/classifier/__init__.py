"""Fitting a classifier of single cells: its data, augmentation, recipe, teachers, calibration."""
