"""The workstation: architectures and fitting (TensorFlow)."""

from edge_malaria import keras_settings as keras_settings  # before Keras
