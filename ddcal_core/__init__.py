"""The mathematics of ddcal: tensors in, tensors out; no web, database or Celery."""
