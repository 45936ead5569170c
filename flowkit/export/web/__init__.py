"""Writes a bundle as one HTML file that runs it in a browser."""

from flowkit.export.web.page import PAGE, check_page, write_page

__all__ = ["PAGE", "check_page", "write_page"]
