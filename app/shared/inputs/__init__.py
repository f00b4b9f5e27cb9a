"""What a run reads: data sets, logits, and the results of earlier jobs."""
