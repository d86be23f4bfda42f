"""A person's look at the flagged cells: sessions, a local page, tables for people without one."""
