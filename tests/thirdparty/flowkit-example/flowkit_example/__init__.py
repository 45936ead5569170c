"""Three layers for flowkit."""
