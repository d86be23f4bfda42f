"""Which fields can be judged, and the reason where one cannot."""
