"""The bodies of answers: what each resource looks like, and how it is made from its row."""
