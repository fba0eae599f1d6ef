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

-- Where the office and the UN count the same people inside the same borders.
beside_the_country as (
    select
        city_years.*,
        if(nations.migrant_stock_status = 'interpolated', 'modelled', 'estimated') as ratio_status
    from city_years
    join country_migration as nations using (country_iso3, year)
    where foreign_born_concept = 'foreign_born'
        and contains(nations.migrant_stock_definition, 'B')
        and country_iso3 not in (select country_iso3 from indicator_borders)
),
-- Counts of one place, concept and geography, from one flagged break to the next.
counted as (
    select
        *,
        sum(if(contains(flag, 'b'), 1, 0)) over same_series as era
    from city_migrants
    where origin = 'all' and migrants_pct is not null
    window same_series as (
        partition by city_id, source_id, source_code, concept, geography
        order by year
    )
),
compared as (
    select
        *,
        first(year) over same_era as first_year,
        first(migrants_pct) over same_era as first_pct
    from counted
    window same_era as (
        partition by city_id, source_id, source_code, concept, geography, era
        order by year
    )
),
changes as (
    select
        city_id,
        year,
        source_id,
        (migrants_pct - first_pct) / (year - first_year) as points_per_year
    from compared
    join city_indicators using (city_id, year)
    where source_id = foreign_born_source_id
        and concept = foreign_born_concept
        and geography = foreign_born_geography
        and migrants_pct = foreign_born_pct
        and year > first_year
    qualify row_number() over (partition by city_id, year order by source_code) = 1
),

-- Countries of birth; what an office adds up as elsewhere (XXX) is part of the total only.
origins as (
    select
        city_id,
        year,
        source_id,
        migrants,
        migrants / sum(migrants) over place as share_of_all,
        origin <> 'XXX' as named,
        migrants / sum(migrants) filter (origin <> 'XXX') over place as share
    from city_migrants
    where origin <> 'all' and migrants > 0 and concept in ('foreign_born', 'immigrant')
    window place as (partition by city_id, year, concept, source_id, source_code)
    qualify dense_rank() over (
        partition by city_id, year order by concept, source_id, source_code
    ) = 1
),
diversity as (
    select
        city_id,
        year,
        any_value(source_id) as source_id,
        count(*) filter (share_of_all > 0.01) as above_one_percent,
        if(count(*) > 1, round(-sum(share * ln(share)) / ln(count(*)), 6), null) as evenness,
        round(sum(share * share), 6) as herfindahl
    from origins
    where named
    group by city_id, year
),

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
    select
        city_id,
        year,
        'implied_net_migration_persons',
        implied_net_migration_persons,
        'modelled',
        population_source_id
    from city_years
    union all
    select
        city_id,
        year,
        unnest(
            [
                'foreign_born_estimate_pct',
                'foreign_born_estimate_low_pct',
                'foreign_born_estimate_high_pct'
            ]
        ),
        unnest(
            [
                foreign_born_estimate_pct,
                foreign_born_estimate_low_pct,
                foreign_born_estimate_high_pct
            ]
        ),
        'modelled',
        'un_migrant_stock_2024'
    from city_years
    where foreign_born_estimate_pct is not null
    union all
    select
        city_id,
        year,
        unnest(['share_of_country_migrants_pct', 'location_quotient']),
        unnest(
            [
                100 * foreign_born / nullif(country_migrant_stock, 0),
                foreign_born_pct / nullif(country_migrant_pct, 0)
            ]
        ),
        ratio_status,
        foreign_born_source_id
    from beside_the_country
    union all
    select
        city_id,
        year,
        'foreign_born_pct_change_per_year',
        points_per_year,
        'observed',
        source_id
    from changes
    union all
    select
        city_id,
        year,
        unnest(['origins_above_one_percent', 'origin_evenness', 'origin_herfindahl']),
        unnest([cast(above_one_percent as double), evenness, herfindahl]),
        'observed',
        source_id
    from diversity
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

-- A million rows that repeat a few texts: as enumerated types they take half the memory.
select
    every_value.city_id,
    every_value.year,
    cast(every_value.indicator_id as indicator_ids) as indicator_id,
    every_value.value,
    cast(indicators.unit as units) as unit,
    cast(
        every_value.status as enum('estimated', 'modelled', 'observed', 'projected')
    ) as status,
    cast(every_value.source_id as source_ids) as source_id
from every_value
join indicators using (indicator_id)
where every_value.value is not null
