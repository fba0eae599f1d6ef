select * from estimate_errors
