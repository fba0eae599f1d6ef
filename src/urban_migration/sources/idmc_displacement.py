"""IDMC's Global Internal Displacement Database: people displaced within their country.

Two files from HDX, whose copy is under CC BY-IGO (IDMC's own downloads are CC BY-NC): conflict,
one row per country and year, and disasters, one row per event, with no key and with twelve rows
that repeat others and are events of their own.  ``new_displacement`` counts movements during the
year (a flow), ``total_displacement`` people at its end (a stock, for disasters from 2019): they
are never added.  A blank is *no figure*, ``0`` is zero.  HDX's addresses contain the ids of
resources, found through ``https://data.humdata.org/api/3/action/package_show?id=idmc-idp-data``;
those below are a stand-in without them.
"""

from __future__ import annotations

import pyarrow as pa

from urban_migration.sources.grid import csv_grid, read_bytes, tidy
from urban_migration.sources.source import Download, Files, Source, SourceTable, Tables

FOLDER = "https://data.humdata.org/dataset/idmc-idp-data/download/"
CONFLICT = "internal-displacements-new-displacements-idps.csv"
DISASTERS = "internal-displacements-new-displacements-associated-with-disasters.csv"

BLANK = ("",)
IGNORED = {
    "country_name": "names are taken from M49",
    "new_displacement_rounded": "the figure beside it is exact; null where that is zero",
    "total_displacement_rounded": "the figure beside it is exact; null where that is zero",
}
EVENT = """
    start_date start_date_accuracy end_date end_date_accuracy event_name hazard_category
    hazard_category_name hazard_sub_category hazard_sub_category_name hazard_type
    hazard_type_name hazard_sub_type hazard_subtype_name event_codes
""".split()
IGNORED_OF_EVENTS = {
    **IGNORED,
    **dict.fromkeys(EVENT, "describes the event; what is published is its country and year"),
}
FIGURES = {"iso3": "text", "year": "year", "new_displacement": "integer"}

TABLES = {
    "conflict": SourceTable(
        columns={**FIGURES, "total_displacement": "integer"},
        key=("iso3", "year"),
        code=("iso3",),
        lands="""exists (
            select 1 from country_migration m join country_codes c using (country_iso3)
            where c.scheme = 'iso3' and c.code = fact.iso3 and m.year = fact.year
            and m.conflict_displacements_idmc is not distinct from fact.new_displacement
            and m.conflict_idps_idmc is not distinct from fact.total_displacement)""",
    ),
    "disasters": SourceTable(
        columns={**FIGURES, "total_displacement": "integer"},
        key=("row_number",),
        code=("iso3",),
        lands="""exists (
            select 1 from country_migration m join country_codes c using (country_iso3)
            where c.scheme = 'iso3' and c.code = fact.iso3 and m.year = fact.year
            and (m.disaster_displacements_idmc is not null or fact.new_displacement is null)
            and (m.disaster_idps_idmc is not null or fact.total_displacement is null))""",
    ),
}


def read(files: Files) -> Tables:
    """One row per country and year (conflict) and one per event (disasters)."""
    return {
        "conflict": _figures(files, "conflict", CONFLICT),
        "disasters": _figures(files, "disasters", DISASTERS),
    }


def _figures(files: Files, table: str, file: str) -> pa.Table:
    grid = csv_grid(
        file,
        read_bytes(files[file]),
        use=["iso3", "year", "new_displacement", "total_displacement"],
        ignore=IGNORED if table == "conflict" else IGNORED_OF_EVENTS,
    )
    return tidy(
        TABLES[table],
        grid,
        {
            "iso3": grid.required_text("iso3"),
            "year": grid.years("year"),
            "new_displacement": grid.integers("new_displacement", null=BLANK),
            "total_displacement": grid.integers("total_displacement", null=BLANK),
        },
    )


SOURCE = Source(
    id="idmc_displacement",
    title="Global Internal Displacement Database: displacement by conflict and by disasters",
    publisher="Internal Displacement Monitoring Centre (IDMC), through HDX",
    licence="CC BY-IGO",
    licence_url="https://creativecommons.org/licenses/by/3.0/igo/",
    citation=(
        "Internal Displacement Monitoring Centre (IDMC), Global Internal Displacement Database."
    ),
    homepage="https://data.humdata.org/dataset/idmc-idp-data",
    edition="as downloaded",
    downloads=(
        Download(file=CONFLICT, url=FOLDER + CONFLICT, kind="csv", max_bytes=8 * 2**20),
        Download(file=DISASTERS, url=FOLDER + DISASTERS, kind="csv"),
    ),
    tables=TABLES,
    read=read,
)
