"""Urban Migration Indicators: from publishers' files to one table of migration per city.

The way through the package is the way of the data: ``sources`` describe and read the
publishers' files, ``download`` and ``raw`` bring and keep them, ``places`` says which country
and city a row means, ``tables`` holds the SQL and the dictionary of what is published,
``checks`` decides what may be published, ``release`` publishes it, and ``query`` and ``cli``
serve the readers.  ``build`` strings the steps together.
"""

__version__ = "0.1.0"
