"""The commands of the command line: each file adds its own to the parser. Heavy imports happen when they run."""
