"""Static int8 for both formats, from the same float model and the same calibration samples."""
