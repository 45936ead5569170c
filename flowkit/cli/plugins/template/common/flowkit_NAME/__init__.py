"""The flowkit plugin `NAME/PLUGIN`."""
