"""World Urbanization Prospects, the 2018 Revision: cities of 300,000 and more, and countries.

The archive holds one workbook per table.  Used are the locations (F00), urban and total
population of 2018 (F01), percentages urban (F02), annual urban populations (F19) and annual city
populations (F22); F03 and F12 repeat F19 and F22 at five-year points and are read to be
compared.  Populations are published in thousands and read as persons; a zero is a true zero,
and no cell of a figure may be blank.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from urban_migration.sources.grid import Grid, melt, tidy, workbook_sheet, zip_members
from urban_migration.sources.source import Download, Files, Source, SourceTable, Tables

ARCHIVE = "WUP2018-Excel-files.zip"
LOCATIONS = "WUP2018-F00-LOCATIONS.xlsx"
TOTALS = "WUP2018-F01-Total_Urban_Rural.xls"
PERCENTAGES = "WUP2018-F02-Proportion_Urban.xls"
URBAN_5_YEARLY = "WUP2018-F03-Urban_Population.xls"
CITIES_5_YEARLY = "WUP2018-F12-Cities_Over_300K.xls"
URBAN_ANNUAL = "WUP2018-F19-Urban_Population_Annual.xls"
CITIES_ANNUAL = "WUP2018-F22-Cities_Over_300K_Annual.xls"
MEMBERS = (
    LOCATIONS,
    TOTALS,
    PERCENTAGES,
    URBAN_5_YEARLY,
    CITIES_5_YEARLY,
    URBAN_ANNUAL,
    CITIES_ANNUAL,
)

OTHER_MEMBERS = re.compile(r"WUP2018-F\d\d[a-d]?-[\w-]+\.xlsx?")
"""The archive's other tables (rural and total populations, rates, size classes): not used."""

IGNORED_SHEETS = {"NOTES": "the publisher's footnotes in prose"}
IGNORED_OF_LOCATIONS = {
    "Index": "running number",
    "Notes": "number of a footnote",
    "Code": "the type is read by its name",
    "Code.1": "M49 gives the regions",
    "Name.1": "M49 gives the regions",
    "Code.2": "M49 gives the regions",
    "Name.2": "M49 gives the regions",
    "More Developed Regions": "development group, not published",
    "Less Developed Regions": "development group, not published",
    "Least developed countries": "development group, not published",
    "Less developed regions, excluding least developed countries": "group, not published",
    "High-income Countries": "income group of 2016, not published",
    "Middle-income Countries": "income group of 2016, not published",
    "Upper-middle-income Countries": "income group of 2016, not published",
    "Lower-middle-income Countries": "income group of 2016, not published",
    "Low-income Countries": "income group of 2016, not published",
    "Sub-Saharan Africa": "M49 gives the regions",
    "with a population of less than 90,000 by mid-2018": "size group, not published",
}
IGNORED_OF_COUNTRIES = {
    "Index": "running number",
    "Region, subregion, country or area": "the code identifies the row",
    "Note": "number of a footnote",
}

FIVE_YEARLY = [str(year) for year in range(1950, 2051, 5)]
ANNUAL = [str(year) for year in range(1950, 2051)]
CITY_FIVE_YEARLY = [str(year) for year in range(1950, 2036, 5)]
CITY_ANNUAL = [str(year) for year in range(1950, 2036)]

COUNTRY = "Country/Area"
GROUPS = {"Region", "Subregion", "Development group", "Income group", "Special groupings"}
AGGREGATE = "a region or group, not a country"
REPEATED = "repeats the annual file at five-year points; compared, not published"

_URBANIZATION = """
    select 1 from country_urbanization u join country_codes c using (country_iso3)
    where u.series = 'wup2018' and c.scheme = 'm49' and c.code = fact.location_code"""


def _country_table(figures: Mapping[str, str], year: str, lands: str) -> SourceTable:
    return SourceTable(
        columns={"location_code": "text", "year": year, **figures},
        key=("location_code", "year"),
        code=("location_code",),
        lands=lands,
    )


TABLES = {
    "locations": SourceTable(
        columns={"location_code": "text", "name": "text", "iso3": "text", "type": "text"},
        key=("location_code",),
        code=("location_code",),
        lands="""exists (
            select 1 from country_codes c join countries using (country_iso3)
            where c.scheme = 'm49' and c.code = fact.location_code)""",
    ),
    "totals": _country_table(
        {
            "urban_population": "integer",
            "rural_population": "integer",
            "population": "integer",
            "urban_pct": "number",
        },
        "year",
        f"exists ({_URBANIZATION} and u.year = fact.year and u.population = fact.population)",
    ),
    "urban_percentages": _country_table(
        {"urban_pct": "number"},
        "year",
        f"exists ({_URBANIZATION} and u.year = fact.year and u.urban_pct = fact.urban_pct)",
    ),
    "urban_populations": _country_table(
        {"urban_population": "integer"},
        "year",
        f"exists ({_URBANIZATION} and u.year = fact.year"
        " and u.urban_population = fact.urban_population)",
    ),
    "urban_populations_5_yearly": _country_table({"urban_population": "integer"}, "year", "false"),
    "cities": SourceTable(
        columns={
            "city_code": "text",
            "location_code": "text",
            "name": "text",
            "latitude": "number",
            "longitude": "number",
        },
        key=("city_code",),
        code=("city_code",),
        lands="exists (select 1 from cities c where c.wup2018_code = fact.city_code)",
    ),
    "city_populations": SourceTable(
        columns={"city_code": "text", "year": "year", "population": "integer"},
        key=("city_code", "year"),
        code=("city_code",),
        lands="""exists (
            select 1 from city_population p join cities c using (city_id)
            where p.series = 'wup2018' and c.wup2018_code = fact.city_code
            and p.year = fact.year and p.population = fact.population)""",
    ),
    "city_populations_5_yearly": SourceTable(
        columns={"city_code": "text", "year": "year", "population": "integer"},
        key=("city_code", "year"),
        code=("city_code",),
        lands="false",
    ),
}


def read(files: Files) -> Tables:
    """Read the archive into the tables of ``TABLES``; populations in persons."""
    members = zip_members(files[ARCHIVE], MEMBERS, OTHER_MEMBERS)
    locations = workbook_sheet(
        LOCATIONS,
        members[LOCATIONS],
        "Location",
        header_row=17,
        use=["code", "Region, subregion, country or area", "Alpha-code", "Name"],
        ignore=IGNORED_OF_LOCATIONS,
        ignore_sheets=IGNORED_SHEETS,
    )
    codes, types = locations.required_text("code"), locations.required_text("Name")
    kinds = dict(zip(codes, types, strict=True))
    for index, kind in enumerate(types):
        if kind != COUNTRY and kind not in GROUPS:
            raise locations.error(f"unknown type of location {kind!r}", index, "Name")
    located = {
        "location_code": codes,
        "name": locations.required_text("Region, subregion, country or area"),
        "iso3": locations.text("Alpha-code"),
        "type": types,
    }

    of_2018 = ["Country code", "Urban", "Rural", "Total", "Percentage urban"]
    totals = _sheet(members, TOTALS, of_2018)
    urban = _sheet(members, URBAN_ANNUAL, ["Country code", *ANNUAL])
    urban_5 = _sheet(members, URBAN_5_YEARLY, ["Country code", *FIVE_YEARLY])
    share = _sheet(members, PERCENTAGES, ["Country code", *FIVE_YEARLY])
    annual = _city_sheet(members, CITIES_ANNUAL, CITY_ANNUAL)
    five_yearly = _city_sheet(members, CITIES_5_YEARLY, CITY_FIVE_YEARLY)
    total_codes = totals.required_text("Country code")
    return {
        "locations": tidy(
            TABLES["locations"],
            locations,
            located,
            ignored=_aggregates(locations, "code", codes, kinds),
        ),
        "totals": tidy(
            TABLES["totals"],
            totals,
            {
                "location_code": total_codes,
                "year": np.full(len(totals), 2018),
                "urban_population": totals.integers("Urban", scale=1000),
                "rural_population": totals.integers("Rural", scale=1000),
                "population": totals.integers("Total", scale=1000),
                "urban_pct": totals.numbers("Percentage urban"),
            },
            ignored=_aggregates(totals, "Country code", total_codes, kinds),
        ),
        "urban_percentages": _by_year("urban_percentages", share, FIVE_YEARLY, kinds),
        "urban_populations": _by_year("urban_populations", urban, ANNUAL, kinds),
        "urban_populations_5_yearly": _by_year(
            "urban_populations_5_yearly", urban_5, FIVE_YEARLY, kinds, REPEATED
        ),
        "cities": tidy(
            TABLES["cities"],
            annual,
            {
                "city_code": annual.required_text("City Code"),
                "location_code": annual.required_text("Country Code"),
                "name": annual.required_text("Urban Agglomeration"),
                "latitude": annual.numbers("Latitude"),
                "longitude": annual.numbers("Longitude"),
            },
        ),
        "city_populations": _by_city_year("city_populations", annual, CITY_ANNUAL),
        "city_populations_5_yearly": _by_city_year(
            "city_populations_5_yearly", five_yearly, CITY_FIVE_YEARLY, REPEATED
        ),
    }


def _sheet(members: Mapping[str, bytes], name: str, use: Sequence[str]) -> Grid:
    return workbook_sheet(
        name,
        members[name],
        "Data",
        header_row=17,
        use=use,
        ignore=IGNORED_OF_COUNTRIES,
        ignore_sheets=IGNORED_SHEETS,
    )


def _city_sheet(members: Mapping[str, bytes], name: str, years: Sequence[str]) -> Grid:
    return workbook_sheet(
        name,
        members[name],
        "Data",
        header_row=17,
        use=["Country Code", "City Code", "Urban Agglomeration", "Latitude", "Longitude", *years],
        ignore={
            "Index": "running number",
            "Country or area": "the code identifies the country",
            "Note": "number of a footnote",
        },
        ignore_sheets=IGNORED_SHEETS,
    )


def _aggregates(
    grid: Grid, column: str, codes: Sequence[str], kinds: Mapping[str, str]
) -> list[str | None]:
    """The reason why a row is ignored, null for countries; a code must be in the locations."""
    for index, code in enumerate(codes):
        if code not in kinds:
            raise grid.error(f"the code {code!r} is not in {LOCATIONS}", index, column)
    return [None if kinds[code] == COUNTRY else AGGREGATE for code in codes]


def _by_year(
    table: str,
    grid: Grid,
    years: Sequence[str],
    kinds: Mapping[str, str],
    reason: str | None = None,
) -> pa.Table:
    """One row per location and year."""
    cells = melt(grid, years)
    codes = grid.required_text("Country code")
    reasons = [aggregate or reason for aggregate in _aggregates(grid, "Country code", codes, kinds)]
    share = "urban_pct" in TABLES[table].columns
    figure = cells.numbers() if share else cells.integers(scale=1000)
    return tidy(
        TABLES[table],
        grid,
        {
            "location_code": cells.repeat(codes),
            "year": cells.header([int(year) for year in years]),
            "urban_pct" if share else "urban_population": figure,
        },
        rows=cells.rows,
        column=cells.header(),
        ignored=cells.repeat(pa.array(reasons, pa.string())),
    )


def _by_city_year(
    table: str, grid: Grid, years: Sequence[str], reason: str | None = None
) -> pa.Table:
    """One row per city and year, persons."""
    cells = melt(grid, years)
    return tidy(
        TABLES[table],
        grid,
        {
            "city_code": cells.repeat(grid.required_text("City Code")),
            "year": cells.header([int(year) for year in years]),
            "population": cells.integers(scale=1000),
        },
        rows=cells.rows,
        column=cells.header(),
        ignored=pa.repeat(pa.scalar(reason, pa.string()), len(cells.rows)),
    )


SOURCE = Source(
    id="un_wup_2018",
    title="World Urbanization Prospects: The 2018 Revision",
    publisher="United Nations, Department of Economic and Social Affairs, Population Division",
    licence="CC BY 3.0 IGO",
    licence_url="https://creativecommons.org/licenses/by/3.0/igo/",
    citation=(
        "United Nations, Department of Economic and Social Affairs, Population Division (2018). "
        "World Urbanization Prospects: The 2018 Revision, Online Edition."
    ),
    homepage="https://population.un.org/wup/",
    edition="2018 Revision",
    downloads=(
        Download(
            file=ARCHIVE,
            url=f"https://population.un.org/wup/assets/Download/Archive/{ARCHIVE}",
            kind="zip",
        ),
    ),
    tables=TABLES,
    read=read,
    required=True,
)
