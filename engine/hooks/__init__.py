"""Hooks: addresses outside that are told of events, by signed requests that are repeated until they are heard.

`message` says what a request holds, `schedule` when it is repeated, `rows` keeps both, and the `courier` carries them.
"""
