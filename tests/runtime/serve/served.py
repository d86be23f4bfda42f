"""The real command and a browser for it, and the drawn slide that the tests read."""

from __future__ import annotations

from benchmarks.serve.served import Browser, process

__all__ = ["MICRO", "SIM", "Browser", "process"]

# A drawn slide of a few small fields: seconds on a busy machine.
SIM = "sim:parasitemia=0.05,fields=6,seed=3,width=640,height=480"
# Whatever the bundle, the server works alike; this one's self-test at the start takes the least.
MICRO = ("--bundle", "micro")
