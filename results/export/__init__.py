"""The exported bundle: one ONNX file, its manifest and model card, and prediction from it."""
