with
population as (select * from unhcr_population.population)

select
    asylum.country_iso3 as asylum_iso3,
    origin.country_iso3 as origin_iso3,
    population.year,
    population.refugees,
    population.asylum_seekers,
    population.idps,
    population.stateless,
    population.returned_refugees,
    population.returned_idps,
    population.others_of_concern,
    population.other_people_in_need,
    population.host_community
from population
join country_codes as asylum on asylum.scheme = 'iso3' and asylum.code = population.asylum_code
join country_codes as origin on origin.scheme = 'iso3' and origin.code = population.origin_code
