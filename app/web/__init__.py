"""Pages for people: server-rendered, each readable without a script."""
