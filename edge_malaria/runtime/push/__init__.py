"""Sends signed results to a FHIR server, a DHIS2 tracker or an MQTT broker, each exactly once.

Needs the ``[push]`` extra. Nothing is sent unless ``serve --push FILE`` names a target.
"""
