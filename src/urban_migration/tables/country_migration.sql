-- Four publishers side by side, each in its own definition; nothing is divided across them.
with
stocks as (
    select s.location_code, s.year, s.data_type, s.migrants, p.migrants_pct
    from un_migrant_stock_2024.stocks as s
    left join un_migrant_stock_2024.percentages as p using (location_code, year)
),
demography as (select * from un_wpp_2024.indicators),
displaced as (select * from displacement_origins),

spans as (
    select
        location_code,
        data_type,
        year as from_year,
        migrants as from_migrants,
        migrants_pct as from_pct,
        lead(year) over points as to_year,
        lead(migrants) over points as to_migrants,
        lead(migrants_pct) over points as to_pct
    from stocks
    window points as (partition by location_code order by year)
),

span_years as (
    select
        *,
        unnest(generate_series(from_year, coalesce(to_year - 1, from_year))) as year
    from spans
),

migrants as (
    select
        codes.country_iso3,
        cast(year as integer) as year,
        case
            when year = from_year then from_migrants
            else cast(
                round(
                    from_migrants
                    + (to_migrants - from_migrants) * (year - from_year) / (to_year - from_year)
                ) as bigint
            )
        end as migrant_stock,
        case
            when year = from_year then from_pct
            else from_pct + (to_pct - from_pct) * (year - from_year) / (to_year - from_year)
        end as migrant_pct,
        case when year = from_year then 'reported' else 'interpolated' end
            as migrant_stock_status,
        data_type as migrant_stock_definition
    from span_years
    join country_codes as codes on codes.scheme = 'm49' and codes.code = span_years.location_code
),

populations as (
    select
        codes.country_iso3,
        year,
        population,
        case when year < 2024 then 'estimate' else 'projection' end as population_status,
        natural_increase_per_1000,
        net_migration_per_1000
    from demography
    join country_codes as codes on codes.scheme = 'm49' and codes.code = demography.location_code
),

hosted as (
    select
        asylum_iso3 as country_iso3,
        year,
        cast(sum(refugees) as bigint) as refugees,
        cast(sum(asylum_seekers) as bigint) as asylum_seekers,
        cast(sum(idps) as bigint) as idps,
        cast(sum(stateless) as bigint) as stateless
    from displaced
    group by all
),

conflict as (
    select
        codes.country_iso3,
        year,
        total_displacement as idps,
        new_displacement as displacements
    from idmc_displacement.conflict
    join country_codes as codes on codes.scheme = 'iso3' and codes.code = conflict.iso3
),

-- One row per event, of which several may have no figure: a sum is of those that have one.
disasters as (
    select
        codes.country_iso3,
        year,
        cast(sum(total_displacement) as bigint) as idps,
        cast(sum(new_displacement) as bigint) as displacements
    from idmc_displacement.disasters
    join country_codes as codes on codes.scheme = 'iso3' and codes.code = disasters.iso3
    group by all
),

country_years as (
    select country_iso3, year from migrants
    union
    select country_iso3, year from populations
    union
    select country_iso3, year from hosted
    union
    select country_iso3, year from conflict
    union
    select country_iso3, year from disasters
)

select
    country_iso3,
    year,
    migrants.migrant_stock,
    migrants.migrant_pct,
    migrants.migrant_stock_status,
    migrants.migrant_stock_definition,
    hosted.refugees,
    hosted.asylum_seekers,
    hosted.idps,
    hosted.stateless,
    conflict.idps as conflict_idps_idmc,
    disasters.idps as disaster_idps_idmc,
    conflict.displacements as conflict_displacements_idmc,
    disasters.displacements as disaster_displacements_idmc,
    populations.net_migration_per_1000,
    populations.natural_increase_per_1000,
    populations.population,
    populations.population_status
from country_years
left join migrants using (country_iso3, year)
left join populations using (country_iso3, year)
left join hosted using (country_iso3, year)
left join conflict using (country_iso3, year)
left join disasters using (country_iso3, year)
