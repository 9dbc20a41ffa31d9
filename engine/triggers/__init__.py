"""What starts workflows by itself: the clock, requests from outside, events.

`spec` reads what an author says of a schedule, `cron` and `slots` say when it is due, and `turns` what is to be done about
what was missed; all of them are pure. `registration` writes down the triggers of a version that becomes the active one,
`schedules` is for people, and `scheduler` is the poller's part. The pen (`transitions.arriving`) takes an arrival in, once.
"""
