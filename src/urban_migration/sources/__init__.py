"""The publishers' datasets, one module each; this page registers them.

A source describes its files and reads them into tidy tables.  To add one, write its module and
add its name to ``MODULES`` (``docs/adding-a-source.md`` has the rest).
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from urban_migration.errors import UsageError
from urban_migration.sources.source import Source

MODULES = (
    "un_m49",
    "un_wup_2018",
    "un_migrant_stock_2024",
    "un_wpp_2024",
    "unhcr_population",
    "eurostat_cities",
    "abs_census_2021",
    "statcan_census_2016",
    "us_acs",
    "unsd_city_population",
    "geonames",
    "un_wup_2025",
    "unhcr_locations",
    "unhcr_totals",
    "idmc_displacement",
    "iom_missing_migrants",
    "iom_dtm",
    "us_acs_metro",
    "ons_census_2021",
    "oecd_fua",
)


@cache
def all_sources() -> dict[str, Source]:
    """Every registered source by its id."""
    modules = (import_module(f"{__name__}.{name}") for name in MODULES)
    sources: list[Source] = [module.SOURCE for module in modules]
    return {source.id: source for source in sources}


def get_source(source_id: str) -> Source:
    """The source of this id, or a :class:`UsageError` that lists those there are."""
    sources = all_sources()
    if source_id not in sources:
        raise UsageError(f"no source {source_id!r}; there are: {', '.join(sources)}")
    return sources[source_id]
