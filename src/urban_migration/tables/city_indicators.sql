-- One population series for the whole release (the variable `series`); a city that only its
-- statistical office counts stands on that office's population.  Migration and natural increase
-- come from their own editions, and what combines the two is modelled.
with
geographies as (
    select
        unnest(['metropolitan', 'greater_city', 'functional_urban_area', 'city', 'emirate',
            'governorate']) as geography,
        unnest(generate_series(1, 6)) as preference
),
concepts as (
    select
        unnest(['foreign_born', 'immigrant', 'foreign_citizen']) as concept,
        unnest(generate_series(1, 3)) as preference
),

-- The best observation of a city and year: by concept, then one with a share, then the area that
-- is nearest to an agglomeration; the source's id settles what is left.
observed as (
    select city_migrants.*
    from city_migrants
    join concepts using (concept)
    join geographies using (geography)
    where origin = 'all'
    qualify row_number() over (
        partition by city_id, year
        order by
            concepts.preference,
            migrants_pct is null,
            geographies.preference,
            source_id,
            source_code
    ) = 1
),

un_cities as (
    select city_id, year, population, status, series, '' as area
    from city_population
    where series = getvariable('series')
),
own_cities as (
    select
        city_id,
        year,
        official.population,
        'observed' as status,
        official.source_id as series,
        official.source_code as area
    from city_official_population as official
    join cities using (city_id)
    join geographies using (geography)
    left join observed using (city_id, year)
    where cities.kind = 'statistical_city'
    qualify row_number() over (
        partition by city_id, year
        order by
            official.source_code is distinct from observed.source_code,
            official.source_id = 'unsd_city_population',
            geographies.preference,
            official.source_id,
            official.source_code
    ) = 1
),
own_cities_without_population as (
    select city_id, year, null, 'observed', source_id, source_code
    from observed
    join cities using (city_id)
    anti join own_cities using (city_id, year)
    where cities.kind = 'statistical_city'
),
city_years as (
    select * from un_cities
    union all
    select * from own_cities
    union all
    select * from own_cities_without_population
),
nations as (select * from country_urbanization where series = getvariable('series')),
migration as (select * from country_migration),

five_years_of_increase as (
    select
        country_iso3,
        year,
        case
            when lag(year, 4) over years = year - 4
                then (
                    natural_increase_per_1000
                    + lag(natural_increase_per_1000, 1) over years
                    + lag(natural_increase_per_1000, 2) over years
                    + lag(natural_increase_per_1000, 3) over years
                    + lag(natural_increase_per_1000, 4) over years
                ) / 5 / 10
        end as natural_increase_pct
    from migration
    where natural_increase_per_1000 is not null
    window years as (partition by country_iso3 order by year)
),

growth as (
    select
        now.city_id,
        now.year,
        case
            when now.population > 0 and before.population > 0
                then 100 * ln(now.population / before.population) / 5
        end as population_growth_pct,
        now.population as population,
        before.population as population_before
    from city_years as now
    join city_years as before
        on before.city_id = now.city_id
        and before.year = now.year - 5
        and before.series = now.series
        and before.area = now.area
),

ranks as (
    select
        city_id,
        year,
        rank() over (
            partition by cities.country_iso3, year order by un_cities.population desc
        ) as rank_in_country
    from un_cities
    join cities using (city_id)
    where not getvariable('extract')
)

select
    city_id,
    year,
    cities.name as city_name,
    cities.country_iso3,
    countries.name as country_name,
    countries.region,
    cities.latitude,
    cities.longitude,
    city_years.population,
    city_years.status as population_status,
    city_years.series as population_series,
    growth.population_growth_pct,
    ranks.rank_in_country,
    case
        when nations.urban_population > 0 and city_years.series = nations.series
            then 100 * city_years.population / nations.urban_population
    end as urban_population_share_pct,
    if(city_years.series = nations.series, nations.population, null) as country_population,
    if(city_years.series = nations.series, nations.urban_population, null) as country_urban_population,
    if(city_years.series = nations.series, nations.urban_pct, null) as country_urban_pct,
    migration.migrant_stock as country_migrant_stock,
    migration.migrant_pct as country_migrant_pct,
    migration.refugees as country_refugees,
    migration.asylum_seekers as country_asylum_seekers,
    migration.idps as country_idps,
    increase.natural_increase_pct as country_natural_increase_pct,
    migration.net_migration_per_1000 as country_net_migration_per_1000,
    growth.population_growth_pct - increase.natural_increase_pct as implied_net_migration_pct,
    case
        when growth.population_growth_pct is not null
            then cast(
                round(
                    growth.population
                    - growth.population_before * exp(5 * increase.natural_increase_pct / 100)
                ) as bigint
            )
    end as implied_net_migration_persons,
    observed.migrants as foreign_born,
    observed.migrants_pct as foreign_born_pct,
    observed.concept as foreign_born_concept,
    observed.source_id as foreign_born_source_id,
    observed.geography as foreign_born_geography,
    estimates.estimate_pct as foreign_born_estimate_pct,
    estimates.low_pct as foreign_born_estimate_low_pct,
    estimates.high_pct as foreign_born_estimate_high_pct,
    case
        when estimates.note is not null then estimates.note
        when city_years.series <> getvariable('series') then 'not_in_series'
        else 'year_outside_domain'
    end as foreign_born_estimate_note
from city_years
join cities using (city_id)
join countries using (country_iso3)
left join nations using (country_iso3, year)
left join migration using (country_iso3, year)
left join five_years_of_increase as increase using (country_iso3, year)
left join growth using (city_id, year)
left join ranks using (city_id, year)
left join observed using (city_id, year)
left join city_estimates as estimates using (city_id, year)
