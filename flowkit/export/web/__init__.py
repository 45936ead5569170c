"""Bundle -> one HTML file that runs it in a browser."""

from flowkit.export.web.page import PAGE, write_page

__all__ = ["PAGE", "write_page"]
