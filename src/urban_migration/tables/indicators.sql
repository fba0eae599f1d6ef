select * from indicator_dictionary
