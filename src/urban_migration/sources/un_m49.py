"""The UN's standard country or area codes for statistical use (M49), with regions and ISO codes.

Codes are zero-padded text.  A blank is *none*: Antarctica has no region, most countries no
intermediate region.  Taiwan and Kosovo are not in M49; ``places`` adds them.
"""

from __future__ import annotations

from urban_migration.sources.grid import csv_grid, read_bytes, tidy
from urban_migration.sources.source import Download, Files, Source, SourceTable, Tables

FILE = "UNSD-Methodology.csv"
NO_ISO = "no ISO 3166-1 code; counted with the territory that it belongs to"

IGNORED = {
    "Global Code": "always the world",
    "Global Name": "always the world",
    "Region Code": "the name is published",
    "Sub-region Code": "the name is published",
    "Intermediate Region Code": "the sub-region is published",
    "Intermediate Region Name": "the sub-region is published",
    "Least Developed Countries (LDC)": "group, not published",
    "Land Locked Developing Countries (LLDC)": "group, not published",
    "Small Island Developing States (SIDS)": "group, not published",
}

TABLES = {
    "countries": SourceTable(
        columns={
            "m49": "text",
            "iso2": "text",
            "iso3": "text",
            "name": "text",
            "region": "text",
            "subregion": "text",
        },
        key=("m49",),
        code=("m49",),
        lands="exists (select 1 from countries c where c.country_iso3 = fact.iso3)",
    )
}


def read(files: Files) -> Tables:
    """One row per country or area."""
    grid = csv_grid(
        FILE,
        read_bytes(files[FILE]),
        delimiter=";",
        use=[
            "M49 Code",
            "ISO-alpha2 Code",
            "ISO-alpha3 Code",
            "Country or Area",
            "Region Name",
            "Sub-region Name",
        ],
        ignore=IGNORED,
    )
    iso3 = grid.text("ISO-alpha3 Code")
    table = tidy(
        TABLES["countries"],
        grid,
        {
            "m49": grid.required_text("M49 Code"),
            "iso2": grid.text("ISO-alpha2 Code"),
            "iso3": iso3,
            "name": grid.required_text("Country or Area"),
            "region": grid.text("Region Name"),
            "subregion": grid.text("Sub-region Name"),
        },
        ignored=[NO_ISO if code is None else None for code in iso3],
    )
    return {"countries": table}


SOURCE = Source(
    id="un_m49",
    title="Standard country or area codes for statistical use (M49)",
    publisher="United Nations Statistics Division",
    licence="United Nations terms of use",
    licence_url="https://www.un.org/en/about-us/terms-of-use",
    citation=(
        "United Nations Statistics Division, Standard country or area codes for statistical use "
        "(M49)."
    ),
    homepage="https://unstats.un.org/unsd/methodology/m49/",
    edition="as downloaded",
    downloads=(
        Download(
            file=FILE,
            url=f"https://unstats.un.org/unsd/methodology/m49/overview/{FILE}",
            kind="csv",
            max_bytes=2**20,
        ),
    ),
    tables=TABLES,
    read=read,
    required=True,
)
