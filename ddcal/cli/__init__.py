"""What people type: the command line, and the client that it and their scripts use."""
