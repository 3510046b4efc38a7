"""The model as graphs that onnxruntime runs."""
