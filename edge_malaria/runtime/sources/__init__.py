"""Where fields come from: files, folders, films, cameras, a drawn slide."""
