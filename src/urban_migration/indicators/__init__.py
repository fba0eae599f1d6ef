"""What is said of a city: the dictionary of indicators, and what SQL cannot say well."""
