"""The floor: the fastest honest script for the published tables, with calamine and DuckDB.

It parses every source file and writes the same Parquet tables as the product, but trusts what
it reads: no checks, no provenance, no release, no DuckDB file.  The product is measured
against it, so it is written for speed first; ``python floor.py RAW OUT``.
"""

from __future__ import annotations

import gc
import os
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

from python_calamine import CalamineWorkbook


class NoPandas:
    """Hides pandas, which pyarrow would import (0.2 s) with the first list that it is given."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        """Refuse pandas, leave every other import to the finders behind."""
        if name == "pandas":
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, NoPandas)  # type: ignore[arg-type]
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy starts threads that are of no use here
gc.disable()  # millions of short-lived cells and nothing cyclic: collecting costs 0.1 s
RAW, OUT = Path(sys.argv[1]), Path(sys.argv[2])
OUT.mkdir(parents=True, exist_ok=True)
STOCKS = RAW / "un_migrant_stock_2024"
REFERENCE_YEARS = (1990, 1995, 2000, 2005, 2010, 2015, 2020, 2024)


def origins_cells() -> list:
    """The rows of the origins workbook, whose 870,000 cells take half of all the time."""
    book = CalamineWorkbook.from_path(
        STOCKS / "undesa_pd_2024_ims_stock_by_sex_destination_and_origin.xlsx"
    )
    return book.get_sheet_by_name("Table 1").to_python(skip_empty_area=False)[11:]


# Calamine parses without the interpreter lock, so the longest job starts before the imports
# and runs beside everything else.
pool = ThreadPoolExecutor(4)
origins_job = pool.submit(origins_cells)

import duckdb  # noqa: E402
import numpy as np  # noqa: E402
import orjson  # noqa: E402
import pyarrow as pa  # noqa: E402
from pyarrow import csv  # noqa: E402


def wpp() -> pa.Table:
    """Five of the 72 columns of WPP's indicators, countries and aggregates."""
    types = {"LocID": pa.int64(), "Time": pa.int32()}
    types |= dict.fromkeys(("TPopulation1July", "NatChangeRT", "CNMR"), pa.float64())
    return csv.read_csv(
        RAW / "un_wpp_2024" / "WPP2024_Demographic_Indicators_Medium.csv.gz",
        convert_options=csv.ConvertOptions(include_columns=list(types), column_types=types),
    )


def sheet(archive: zipfile.ZipFile, member: str) -> list:
    """The rows under the header of one workbook of WUP 2018."""
    book = CalamineWorkbook.from_filelike(BytesIO(archive.read(member)))
    return book.get_sheet_by_index(0).to_python(skip_empty_area=False)[17:]


def long(rows: list, keys: dict[str, int], first: int, years: list[int]) -> pa.Table:
    """Year columns from ``first`` on as one row per (keys, year); a blank cell is null."""
    last = first + len(years)
    values = np.array([r[first:last] for r in rows], dtype=object)
    values[values == ""] = np.nan
    columns = {
        name: np.repeat(np.array([r[at] for r in rows], dtype=np.int64), len(years))
        for name, at in keys.items()
    }
    columns["year"] = np.tile(np.array(years, dtype=np.int32), len(rows))
    columns["value"] = values.astype(np.float64).ravel()
    return pa.table(columns)


def wup() -> dict[str, pa.Table]:
    """The cities and the countries of WUP 2018, thousands."""
    country = {"code": 3}
    with zipfile.ZipFile(RAW / "un_wup_2018" / "WUP2018-Excel-files.zip") as archive:
        places = [r for r in sheet(archive, "WUP2018-F00-LOCATIONS.xlsx") if r[5] == 4]
        cities = sheet(archive, "WUP2018-F22-Cities_Over_300K_Annual.xls")
        in_2018 = sheet(archive, "WUP2018-F01-Total_Urban_Rural.xls")
        percent = sheet(archive, "WUP2018-F02-Proportion_Urban.xls")
        urban = sheet(archive, "WUP2018-F19-Urban_Population_Annual.xls")
    return {
        "wup_places": pa.table(
            {"code": [int(r[3]) for r in places], "name": [r[1] for r in places]}
        ),
        "wup_cities": pa.table(
            {
                "country": [int(r[1]) for r in cities],
                "code": [int(r[3]) for r in cities],
                "name": [r[4].strip() for r in cities],
                "latitude": [r[6] for r in cities],
                "longitude": [r[7] for r in cities],
            }
        ),
        "wup_city_years": long(cities, {"country": 1, "code": 3}, 8, list(range(1950, 2036))),
        "wup_2018": pa.table(
            {
                "code": [int(r[3]) for r in in_2018],
                "total": [r[6] for r in in_2018],
                "pct": [r[7] for r in in_2018],
            }
        ),
        "wup_pct": long(percent, country, 4, list(range(1950, 2051, 5))),
        "wup_urban": long(urban, country, 4, list(range(1950, 2051))),
    }


def stocks() -> dict[str, pa.Table]:
    """Migrant stock, both sexes, and its share of the population, by destination."""
    book = CalamineWorkbook.from_path(
        STOCKS / "undesa_pd_2024_ims_stock_by_sex_and_destination.xlsx"
    )
    stock, share = (
        book.get_sheet_by_name(name).to_python(skip_empty_area=False)[11:]
        for name in ("Table 1", "Table 3")
    )
    years = list(REFERENCE_YEARS)
    return {
        "stock": long(stock, {"code": 4}, 5, years),
        "stock_pct": long(share, {"code": 4}, 5, years),
        "stock_definition": pa.table(
            {"code": [int(r[4]) for r in stock], "definition": [r[3] or None for r in stock]}
        ),
    }


def unhcr() -> pa.Table:
    """Persons of concern by asylum, origin and year; counts are integers or the text "0"."""
    counts = ("refugees", "asylum_seekers", "idps", "stateless")
    codes = {"coa_iso": "asylum", "coo_iso": "origin"}
    pages = []
    for page in sorted((RAW / "unhcr_population").glob("population-*.json")):
        items = orjson.loads(page.read_bytes())["items"]
        columns = {new: pa.array([i[old] for i in items]) for old, new in codes.items()}
        columns["year"] = pa.array([i["year"] for i in items], pa.int32())
        for c in counts:
            values = [0 if (count := i[c]) == "0" else count for i in items]
            columns[c] = pa.array(values, pa.int64())
        pages.append(pa.table(columns))
    return pa.concat_tables(pages)


COUNTRIES = """
create table countries as
with own(country_iso3, country_m49, country_iso2, name, region, subregion) as (values
    ('TWN', 158, 'TW', 'Taiwan', 'Asia', 'Eastern Asia'),
    ('XKX', 412, 'XK', 'Kosovo', 'Europe', 'Southern Europe'),
    ('XCI', 830, null, 'Channel Islands', 'Europe', 'Northern Europe'),
    ('XAB', null, null, 'Abyei', 'Africa', null), ('XXA', null, null, 'Stateless', null, null),
    ('XTB', null, null, 'Tibetan', null, null), ('XXX', 2003, null, 'Unknown or other', null, null))
select "ISO-alpha3 Code" as country_iso3, "M49 Code"::bigint as country_m49,
    "ISO-alpha2 Code" as country_iso2, "Country or Area" as name, "Region Name" as region,
    "Sub-region Name" as subregion, null::varchar as notes
from read_csv($m49, delim = ';', all_varchar = true, header = true)
where "ISO-alpha3 Code" is not null
union all select *, null from own
order by country_iso3
"""

CITIES = """
create table cities as
select lower(country_iso3) || '-' || code as city_id, c.name, null::varchar as local_name,
    country_iso3, latitude, longitude, null::boolean as is_capital, 'un_agglomeration' as kind,
    code::varchar as wup2018_code, null::varchar as wup2025_code,
    null::varchar as urban_audit_code, null::varchar as geonames_id, code
from wup_cities c join countries k on k.country_m49 = c.country
order by city_id;

create table population as
with persons as (
    select code, country_iso3, city_id, year, round(value * 1000)::bigint as population,
        if(year <= 2018, 'estimate', 'projection') as status
    from wup_city_years join cities using (code)
)
select p.*, b.population as before,
    20 * ln(nullif(p.population, 0) / nullif(b.population, 0)) as growth,
    rank() over (partition by p.country_iso3, p.year order by p.population desc) as rank
from persons p left join persons b on b.code = p.code and b.year = p.year - 5
order by p.city_id, p.year;

create table country_urbanization as
with published as (
    select code, year, value as pct from wup_pct
    union all select code, 2018, pct from wup_2018
), spans as (
    select *, lead(year) over w as next_year, lead(pct) over w as next_pct from published
    window w as (partition by code order by year)
), years as (
    select u.code, u.year, u.value as urban, s.year = u.year as is_published,
        if(s.year = u.year, s.pct,
           s.pct + (s.next_pct - s.pct) * (u.year - s.year) / (s.next_year - s.year)) as pct
    from wup_urban u asof join spans s on u.code = s.code and u.year >= s.year
)
select country_iso3, year, 'wup2018' as series,
    round(coalesce(if(year = 2018, total, null), urban * 100 / nullif(y.pct, 0)) * 1000)::bigint
        as population,
    round(urban * 1000)::bigint as urban_population, y.pct as urban_pct,
    case when not is_published then 'interpolated' when year <= 2018 then 'estimate'
        else 'projection' end as status, 'un_wup_2018' as source_id
from years y join wup_places using (code) join wup_2018 using (code)
    join countries on country_m49 = code
order by country_iso3, year;
"""

DISPLACEMENT = """
with own(code, iso3) as (values ('UNK', 'XXX'), ('TIB', 'XTB'))
select coalesce(a.iso3, asylum) as asylum_iso3, coalesce(o.iso3, origin) as origin_iso3, year,
    refugees, asylum_seekers, idps, stateless
from unhcr left join own a on a.code = asylum left join own o on o.code = origin
order by all
"""

MIGRATION = """
create table country_migration as
with points as (
    select code, year, s.value as stock, p.value as pct, definition
    from stock s join stock_pct p using (code, year) join stock_definition using (code)
    where not isnan(s.value)
), spans as (
    select *, lead(year) over w as next_year, lead(stock) over w as next_stock,
        lead(pct) over w as next_pct from points window w as (partition by code order by year)
), stocks as (
    select country_iso3, y.year::int as year, definition,
        if(y.year = s.year, 'reported', 'interpolated') as status,
        stock + coalesce((next_stock - stock) * (y.year - s.year) / (next_year - s.year), 0)
            as stock,
        pct + coalesce((next_pct - pct) * (y.year - s.year) / (next_year - s.year), 0) as pct
    from spans s join countries on country_m49 = code,
        unnest(range(s.year, coalesce(next_year, s.year + 1))) as y(year)
), asylum as (
    select coalesce(own.iso3, asylum) as country_iso3, year, sum(refugees)::bigint as refugees,
        sum(asylum_seekers)::bigint as asylum_seekers, sum(idps)::bigint as idps,
        sum(stateless)::bigint as stateless
    from unhcr left join (values ('UNK', 'XXX'), ('TIB', 'XTB')) own(code, iso3)
        on own.code = asylum
    group by all
), population as (
    select country_iso3, Time as year, CNMR as net, NatChangeRT as nat,
        round(TPopulation1July * 1000)::bigint as population
    from wpp join countries on country_m49 = LocID where Time <= 2050
)
select country_iso3, year, round(stock)::bigint as migrant_stock, pct as migrant_pct,
    status as migrant_stock_status, definition as migrant_stock_definition, refugees,
    asylum_seekers, idps, stateless, null::bigint as conflict_idps_idmc,
    null::bigint as disaster_idps_idmc, null::bigint as conflict_displacements_idmc,
    null::bigint as disaster_displacements_idmc, net as net_migration_per_1000,
    nat as natural_increase_per_1000, population
from population full join stocks using (country_iso3, year) full join asylum
    using (country_iso3, year)
order by country_iso3, year
"""

CITY_POPULATION = """
select city_id, year, 'wup2018' as series, population, status, 'un_wup_2018' as source_id
from population
"""

INDICATORS = """
with country_years as (
    select country_iso3, k.name, region, u.year, u.population, u.urban_population, u.urban_pct,
        m.* exclude (country_iso3, year, population), if(u.year >= 1955, avg(
            natural_increase_per_1000 / 10) over (partition by country_iso3 order by u.year
            rows 4 preceding), null) as natural_increase_pct
    from country_urbanization u join countries k using (country_iso3)
        left join country_migration m using (country_iso3, year)
)
select p.city_id, p.year, c.name as city_name, p.country_iso3, k.name as country_name, k.region,
    c.latitude, c.longitude, p.population, p.status as population_status,
    'wup2018' as population_series, growth as population_growth_pct, rank as rank_in_country,
    p.population * 100 / nullif(k.urban_population, 0) as urban_population_share_pct,
    k.population as country_population, k.urban_population as country_urban_population,
    k.urban_pct as country_urban_pct, k.migrant_stock as country_migrant_stock,
    k.migrant_pct as country_migrant_pct, k.refugees as country_refugees,
    k.asylum_seekers as country_asylum_seekers, k.idps as country_idps,
    k.natural_increase_pct as country_natural_increase_pct,
    k.net_migration_per_1000 as country_net_migration_per_1000,
    growth - k.natural_increase_pct as implied_net_migration_pct,
    round(p.population - before * exp(5 * k.natural_increase_pct / 100))::bigint
        as implied_net_migration_persons, null::bigint as foreign_born,
    null::double as foreign_born_pct, null::varchar as foreign_born_concept,
    null::varchar as foreign_born_source_id, null::varchar as foreign_born_geography,
    null::double as foreign_born_estimate_pct, null::double as foreign_born_estimate_low_pct,
    null::double as foreign_born_estimate_high_pct, null::varchar as foreign_born_estimate_note
from population p join cities c using (code)
    join country_years k on k.country_iso3 = p.country_iso3 and k.year = p.year
order by p.city_id, p.year
"""

VALUES = """
with statuses as (
    select *, if(population_status = 'estimate', 'estimated', 'projected') as status
    from city_indicators
), every as (
    select city_id, year, 'population' as indicator_id, population::double as value,
        'persons' as unit, status
    from statuses
    union all
    select city_id, year, 'population_growth_pct', population_growth_pct, 'percent per year', status
    from statuses
    union all
    select city_id, year, 'rank_in_country', rank_in_country, 'rank', status from statuses
    union all
    select city_id, year, 'urban_population_share_pct', urban_population_share_pct, 'percent',
        status
    from statuses
    union all
    select city_id, year, 'implied_net_migration_pct', implied_net_migration_pct,
        'percent per year', 'modelled'
    from statuses
    union all
    select city_id, year, 'implied_net_migration_persons', implied_net_migration_persons,
        'persons in five years', 'modelled'
    from statuses
)
select *, 'un_wup_2018' as source_id from every where value is not null
order by city_id, year, indicator_id
"""

URBAN_GROWTH = """
with increase as (
    select country_iso3, year, if(year >= 1954, avg(natural_increase_per_1000) over (
        partition by country_iso3 order by year rows 4 preceding) / 10, null) as pct
    from country_migration -- Kosovo is inside Serbia for WUP and not for WPP
    where natural_increase_per_1000 is not null and country_iso3 <> 'SRB'
), spans as (
    select n.country_iso3, n.year, n.series, n.urban_population as now,
        b.urban_population as before,
        100 * ln(nullif(n.urban_population, 0) / nullif(b.urban_population, 0)) / 5 as growth, pct,
        round(b.urban_population * (exp(5 * pct / 100) - 1))::bigint as births_less_deaths
    from country_urbanization n
        join country_urbanization b on b.country_iso3 = n.country_iso3 and b.year = n.year - 5
        left join increase i on i.country_iso3 = n.country_iso3 and i.year = n.year
)
select country_iso3, year, series, now as urban_population, before as urban_population_before,
    growth as urban_growth_pct, pct as natural_increase_pct,
    growth - pct as migration_and_reclassification_pct, now - before as urban_increase,
    births_less_deaths as natural_increase,
    now - before - births_less_deaths as migration_and_reclassification
from spans
order by country_iso3, year
"""


def origins(rows: list, iso3: dict[int, str]) -> pa.Table:
    """Migrants by destination, origin, year and sex, in that order.

    Countries, and origin 2003 for unknown; the few thousand rows are sorted before they
    become a quarter of a million.
    """
    rows = sorted((iso3[r[4]], iso3[r[6]], r[7:31]) for r in rows if r[4] in iso3 and r[6] in iso3)
    cells = 3 * len(REFERENCE_YEARS)
    values = np.array([x if x != "" else np.nan for r in rows for x in r[2]])
    # The workbook has all years of both, male, female; the table has both, female, male a year.
    values = values.reshape(len(rows), 3, -1)[:, [0, 2, 1]].transpose(0, 2, 1).ravel()
    kept = ~np.isnan(values)
    names = pa.array(sorted(set(iso3.values())))
    at = {name: i for i, name in enumerate(names.to_pylist())}

    def codes(column: int) -> pa.DictionaryArray:
        index = np.array([at[r[column]] for r in rows], dtype=np.int16)
        return pa.DictionaryArray.from_arrays(np.repeat(index, cells)[kept], names)

    years = np.repeat(np.array(REFERENCE_YEARS, dtype=np.int32), 3)
    sexes = np.tile(np.array([0, 1, 2], dtype=np.int8), len(REFERENCE_YEARS) * len(rows))
    return pa.table(
        {
            "destination_iso3": codes(0),
            "origin_iso3": codes(1),
            "year": np.tile(years, len(rows))[kept],
            "sex": pa.DictionaryArray.from_arrays(sexes[kept], ["both", "female", "male"]),
            "migrants": values[kept].astype(np.int64),
        }
    )


def write(connection: duckdb.DuckDBPyConnection, name: str, query: str) -> None:
    """One Parquet file from a query or a table, in the order that it has."""
    path = OUT / f"{name}.parquet"
    connection.execute(
        f"copy ({query}) to '{path}' (format parquet, compression zstd, compression_level 1)"
    )


def write_origins(iso3: dict[int, str]) -> None:
    """Waits for the big workbook while the other tables are being made."""
    own = db.cursor()
    own.register("origins", origins(origins_job.result(), iso3))
    write(own, "migrant_stock_origins", "from origins")


def write_wup(tables: dict[str, pa.Table]) -> None:
    """What needs WUP 2018 alone."""
    own = db.cursor()
    for name, table in tables.items():
        own.register(name, table)
    own.execute(CITIES)
    write(own, "cities", "select * exclude code from cities")
    write(own, "city_population", CITY_POPULATION)
    write(own, "country_urbanization", "from country_urbanization")


def write_displacement(table: pa.Table) -> None:
    """UNHCR's rows under the product's country codes."""
    own = db.cursor()
    own.register("unhcr", table)
    write(own, "displacement_origins", DISPLACEMENT)


# Python that holds the interpreter lock (JSON, cells to columns) runs in this thread, DuckDB
# and calamine beside it; what only waits for one source is written while others are parsed.
db = duckdb.connect()
db.execute(COUNTRIES, {"m49": str(RAW / "un_m49" / "UNSD-Methodology.csv")})
codes = db.execute("select country_m49, country_iso3 from countries where country_m49 > 0")
writing = [pool.submit(write_origins, dict(codes.fetchall()))]
writing.append(wup_job := pool.submit(write_wup, wup()))
wpp_job = pool.submit(wpp)
displaced = unhcr()
writing.append(pool.submit(write_displacement, displaced))
for name, table in ({"unhcr": displaced, "wpp": wpp_job.result()} | stocks()).items():
    db.register(name, table)
db.execute(MIGRATION)
wup_job.result()
writing.append(pool.submit(write, db.cursor(), "country_migration", "from country_migration"))
write(db, "countries", "from countries")
db.execute(f"create table city_indicators as {INDICATORS}")
writing.append(pool.submit(write, db.cursor(), "city_indicators", "from city_indicators"))
write(db, "country_urban_growth", URBAN_GROWTH)
write(db, "indicator_values", VALUES)
for job in writing:
    job.result()
os._exit(0)  # every file is closed; giving back a million cells one by one takes 0.1 s
