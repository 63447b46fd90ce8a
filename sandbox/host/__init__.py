"""A Functions host for one machine: it runs a Python v2 app with Microsoft's own worker runtime.

It knows HTTP, timer and queue triggers and queue outputs; it never stands in for Azure in
production, and the app it runs cannot tell it is here.
"""
