"""From a bundle to verified files for runtimes: ONNX and TFLite, fp32 and int8."""
