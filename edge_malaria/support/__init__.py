"""What a device sends when somebody asks for help: its shape, and nobody's name."""
