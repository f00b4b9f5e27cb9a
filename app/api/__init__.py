"""HTTP only: parse, call one function, shape the answer."""
