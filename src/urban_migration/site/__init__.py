"""The static site of a release: the built front end, the release, and small indexes beside it.

``build_site`` makes a folder that any static server can serve; ``serve`` shows it on this machine
alone.  Nothing here computes a figure: what the pages say comes from the release.
"""

from urban_migration.site.make import Site, build_site, find_front_end
from urban_migration.site.server import serve

__all__ = ["Site", "build_site", "find_front_end", "serve"]
