"""The command line: flags, printing, prompts and exit codes; what a command does is left to the other packages.

One file per command, named as the command. ``main`` is the entry point, ``app`` the list of commands, ``flags``
holds shared flags, ``connect`` opens targets and the journal, and only ``console`` prints.
"""
