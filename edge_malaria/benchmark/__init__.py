"""``edge-malaria benchmark``: what the networks and the field path cost on this very board."""
