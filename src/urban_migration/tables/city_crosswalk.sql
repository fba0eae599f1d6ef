-- What each code of each publisher means.  The UN's agglomerations stand for themselves; every
-- other place is what `places/matching.py` makes of it.
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
)

select * from agglomerations
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
