"""The side that speaks to the database: claims jobs, starts trainers, writes down what they did."""
