"""The report directory: JSON, Markdown, tables, pictures and one HTML page."""
