"""The command line: flags, printing, prompts and exit codes.

One file per command, named as the command. ``main`` is the entry, ``app`` the list of commands, ``flags`` what
several commands share, ``connect`` opens targets and the journal, ``console`` is the only place that prints.
"""
