"""What every search shares, whatever its method.

`progress` is the event it yields; `checkpoint` is the file it can be gone on with from, and `identity` what must then
agree; `distributed` shares its batches among processes. Nothing here knows a method.
"""
