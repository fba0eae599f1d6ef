-- The city-level facts of city_indicators in long form, and what is counted around a city.
with
city_years as (
    select
        *,
        case population_status
            when 'estimate' then 'estimated'
            when 'projection' then 'projected'
            else population_status
        end as status,
        case population_series
            when 'wup2018' then 'un_wup_2018'
            when 'wup2025' then 'un_wup_2025'
            else population_series
        end as population_source_id
    from city_indicators
),
incidents as (select * from migrant_incidents where dead_and_missing is not null),
around as (select * from city_distances where distance_km <= 100),

every_value as (
    select
        city_id,
        year,
        'population' as indicator_id,
        cast(population as double) as value,
        status,
        population_source_id as source_id
    from city_years
    union all
    select
        city_id,
        year,
        'population_growth_pct',
        population_growth_pct,
        status,
        population_source_id
    from city_years
    union all
    select city_id, year, 'rank_in_country', rank_in_country, status, population_source_id
    from city_years
    union all
    select
        city_id,
        year,
        'urban_population_share_pct',
        urban_population_share_pct,
        status,
        population_source_id
    from city_years
    union all
    select
        city_id,
        year,
        'implied_net_migration_pct',
        implied_net_migration_pct,
        'modelled',
        population_source_id
    from city_years
    union all
    select city_id, year, 'foreign_born', foreign_born, 'observed', foreign_born_source_id
    from city_years
    union all
    select city_id, year, 'foreign_born_pct', foreign_born_pct, 'observed', foreign_born_source_id
    from city_years
    union all
    select
        around.city_id,
        incidents.year,
        'dead_and_missing_100km',
        sum(incidents.dead_and_missing),
        if(bool_or(incidents.coordinates_rounded), 'estimated', 'observed'),
        'iom_missing_migrants'
    from incidents
    join around using (incident_id)
    group by around.city_id, incidents.year
)

select
    every_value.city_id,
    every_value.year,
    every_value.indicator_id,
    every_value.value,
    indicators.unit,
    every_value.status,
    every_value.source_id
from every_value
join indicators using (indicator_id)
where every_value.value is not null
