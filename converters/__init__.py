"""Keras -> TFLite -> ONNX -> C: conversion and quantization (TensorFlow, tf2onnx, onnx)."""

from edge_malaria import keras_settings as keras_settings  # before Keras
