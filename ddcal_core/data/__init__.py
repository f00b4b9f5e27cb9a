"""Data sets: facts, choices of classes, labelled images, input spaces."""
