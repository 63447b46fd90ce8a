"""The page that shows migrations to people: one file to a browser, three to whoever edits it."""
