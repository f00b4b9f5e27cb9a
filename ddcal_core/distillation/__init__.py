"""Distillation methods, one a module: many real images in, a few learned ones out."""
