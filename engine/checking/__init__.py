"""What is wrong with a definition: every mistake at once, each with its place and its remedy.

`problems` is the entrance. `source` reads the author's text and knows its lines; `shape` holds it against the schema;
`outline` takes what is well formed, as regions: graphs inside the nodes of each other. `entrances`, `wiring` and `names`
look at triggers, edges and expressions in them.
"""
