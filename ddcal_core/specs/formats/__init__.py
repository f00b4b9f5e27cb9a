"""The formats that results are downloaded in, a module a kind of result."""
