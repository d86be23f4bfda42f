"""The parity suite as pytest tests, for a user's own CI.

    pytest --pyargs edge_malaria.parity_suite --edge-malaria-bundle my-bundle

One test a stage and one a pair of models; what could not run (an engine that is not installed,
for example) is a skip with its reason, never a pass. Needs pytest and an engine.
See docs/PARITY.md.
"""
