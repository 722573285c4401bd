"""Data sets: opening, splitting, preprocessing and calibration samples; no torch."""
