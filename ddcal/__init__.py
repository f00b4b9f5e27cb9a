"""What users import and type: a client of the service, and the command line."""
