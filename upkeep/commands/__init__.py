"""What the command line does, one module a subject; imported only when its command is called."""
