"""The device's database: the worklist over the slides' journals, its backup, the disk below it.

A slide's journal is the truth about the slide. What the database holds of it can be rebuilt.
"""
