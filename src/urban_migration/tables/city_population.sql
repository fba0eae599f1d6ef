-- Two editions with two ideas of a city, below each other and never mixed.
with
wup2018 as (select * from un_wup_2018.city_populations),
wup2025 as (select * from un_wup_2025.city_populations),
both_editions as (
    select
        cities.city_id,
        wup2018.year,
        'wup2018' as series,
        wup2018.population,
        case when wup2018.year <= 2018 then 'estimate' else 'projection' end as status,
        'un_wup_2018' as source_id,
        cast(null as double) as area_km2,
        cast(null as double) as built_up_km2,
        cast(null as varchar) as plausibility
    from wup2018
    join cities on cities.wup2018_code = wup2018.city_code
    union all
    select
        cities.city_id,
        wup2025.year,
        'wup2025',
        wup2025.population,
        case when wup2025.year <= 2025 then 'estimate' else 'projection' end,
        'un_wup_2025',
        wup2025.area_km2,
        wup2025.built_up_km2,
        wup2025.plausibility
    from wup2025
    join cities on cities.wup2025_code = wup2025.city_code
)

-- Many rows that repeat a few texts take half the memory as enumerated types.
select
    city_id,
    year,
    cast(series as enum('wup2018', 'wup2025')) as series,
    population,
    cast(status as enum('estimate', 'projection')) as status,
    cast(source_id as source_ids) as source_id,
    area_km2,
    built_up_km2,
    plausibility
from both_editions
