-- The five largest origins of each place that has them; elsewhere (XXX) is in the total only.
with
origins as (
    select
        *,
        100 * migrants / sum(migrants) over place as share_pct
    from city_migrants
    where origin <> 'all' and migrants > 0
    window place as (partition by city_id, year, concept, source_id, source_code)
)

select
    city_id,
    year,
    concept,
    source_id,
    source_code,
    row_number() over (
        partition by city_id, year, concept, source_id, source_code
        order by migrants desc, origin
    ) as rank,
    origin,
    coalesce(countries.name, origin) as origin_name,
    migrants,
    share_pct,
    geography
from origins
left join countries on countries.country_iso3 = origins.origin
where origin <> 'XXX'
qualify rank <= 5
