"""Files times thread counts, measured on a device, become Measurements."""
