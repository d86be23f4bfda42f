"""An int8 .tflite file -> one C99 file for a microcontroller, and the engines that check it."""
