"""Who may do what: projects and their members, users and how they prove themselves, keys of programs, and what was done.

`roles` is the whole table of permissions, and `principals` asks it. `directory` turns a token into a principal. The other
files are rows: reading them is a query of a connection, writing them a change for the ledger.
"""
