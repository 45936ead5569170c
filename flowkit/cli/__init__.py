"""The command line: one thin module a command, each importing what it needs in its body."""
