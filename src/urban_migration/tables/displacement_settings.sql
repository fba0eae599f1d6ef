with
persons as (select * from unhcr_locations.persons)

select
    asylum.country_iso3 as asylum_iso3,
    persons.year,
    persons.population_type,
    persons.setting,
    cast(sum(persons.persons) as bigint) as persons
from persons
join country_codes as asylum on asylum.scheme = 'iso3' and asylum.code = persons.asylum_code
group by all
