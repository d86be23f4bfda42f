"""The workstation: architectures and fitting (TensorFlow)."""
