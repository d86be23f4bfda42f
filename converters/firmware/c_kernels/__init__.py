"""C99 kernels and templates that the firmware generator pastes together."""
