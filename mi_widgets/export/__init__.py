"""One offline HTML file from frozen views. Knows no widget, and fetches nothing."""

from mi_widgets.export.page import FrozenView, offline_page, readable_size, write_page

__all__ = ["FrozenView", "offline_page", "readable_size", "write_page"]
