-- What each code of each publisher means.  The UN's cities of both revisions are what the registry
-- has for their codes (the UN publishes no crosswalk between them); every other place is what
-- `places/matching.py` makes of it.
with
registry as (select * from place_cities),
wup2018 as (select * from un_wup_2018.cities),

agglomerations as (
    select
        'un_wup_2018' as source_id,
        wup2018.city_code as source_code,
        wup2018.name as source_name,
        codes.country_iso3,
        registry.city_id,
        if(registry.city_id is null, 'unmatched', 'matched') as status,
        'registry' as method,
        if(registry.city_id is null, null, 1.0) as score,
        cast(null as double) as distance_km,
        'the code stands in the registry of cities' as reason
    from wup2018
    join country_codes as codes on codes.scheme = 'm49' and codes.code = wup2018.location_code
    left join registry on registry.wup2018_code = wup2018.city_code
),

people as (
    select
        'wup2025' as edition, city_code, population
    from un_wup_2025.city_populations
    where year = 2018
    union all
    select 'wup2018', city_code, population
    from un_wup_2018.city_populations
    where year = 2018
),

-- A city has one centre: where it is in both revisions, `cities` has that of 2018.
grid_cities as (
    select
        'un_wup_2025' as source_id,
        wup2025.city_code as source_code,
        wup2025.name as source_name,
        codes.country_iso3,
        registry.city_id,
        if(registry.city_id is null, 'unmatched', 'matched') as status,
        'registry' as method,
        if(registry.city_id is null, null, 1.0) as score,
        if(
            wup2018.city_code is null,
            null,
            round(
                2 * 6371.0088 * asin(
                    sqrt(
                        sin(radians(cities.latitude - wup2025.latitude) / 2) ** 2
                        + cos(radians(cities.latitude)) * cos(radians(wup2025.latitude))
                        * sin(radians(cities.longitude - wup2025.longitude) / 2) ** 2
                    )
                ),
                1
            )
        ) as distance_km,
        case
            when registry.city_id is null
                then 'not in the registry of cities: urban-migration maintain register adds it'
            when registry.wup2018_code is null
                then 'the code stands in the registry of cities; WUP 2018 does not list this city'
            when here.population is null or there.population is null
                then 'the code stands in the registry of cities; a cluster of dense grid cells'
                    || ' here, the national agglomeration in WUP 2018'
            else format(
                'the code stands in the registry of cities; in 2018 {:,} people as a cluster of'
                || ' dense grid cells, {:,} as the national agglomeration of WUP 2018',
                here.population,
                there.population
            )
        end as reason
    from un_wup_2025.cities as wup2025
    join country_codes as codes on codes.scheme = 'm49' and codes.code = wup2025.location_code
    left join registry on registry.wup2025_code = wup2025.city_code
    left join cities using (city_id)
    left join wup2018 on wup2018.city_code = registry.wup2018_code
    left join people as here on here.edition = 'wup2025' and here.city_code = wup2025.city_code
    left join people as there on there.edition = 'wup2018' and there.city_code = wup2018.city_code
)

select * from agglomerations
union all
select * from grid_cities
union all
select
    source_id,
    source_code,
    source_name,
    country_iso3,
    city_id,
    status,
    method,
    score,
    distance_km,
    reason
from place_matches
