with
unrwa as (
    select asylum_code, origin_code, year, persons from unhcr_totals.unrwa
),
idmc as (
    select asylum_code, origin_code, year, persons from unhcr_totals.idmc
),

beside as (
    select
        asylum_code,
        origin_code,
        year,
        unrwa.persons as unrwa,
        idmc.persons as idmc
    from unrwa
    full join idmc using (asylum_code, origin_code, year)
)

select
    asylum.country_iso3 as asylum_iso3,
    origin.country_iso3 as origin_iso3,
    beside.year,
    beside.unrwa,
    beside.idmc
from beside
join country_codes as asylum on asylum.scheme = 'iso3' and asylum.code = beside.asylum_code
join country_codes as origin on origin.scheme = 'iso3' and origin.code = beside.origin_code
