"""Measurements of many networks -> report.json and a page worth looking at."""
