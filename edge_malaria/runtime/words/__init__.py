"""The languages of the pages and of the reports: messages, numbers, times."""
