"""Keras -> TFLite -> ONNX -> C: conversion and quantization (TensorFlow, tf2onnx, onnx)."""
