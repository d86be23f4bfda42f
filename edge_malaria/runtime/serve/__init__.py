"""The point of care: pages on this device's own address that run, review and sign slides.

Everything here needs the ``[serve]`` extra and is imported by the ``serve`` command alone.
"""
