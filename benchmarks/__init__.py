"""Drivers of what was measured, with their raw results and tables."""

# Before anything else: it switches off the telemetry of ONNX Runtime, which some drivers import.
import edgekd  # noqa: F401
