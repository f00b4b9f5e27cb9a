"""report.json as one self-contained page: sections, figures, pictures, captions."""
