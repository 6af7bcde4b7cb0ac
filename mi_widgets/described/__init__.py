"""What can be chosen in a view and what its numbers are called, said once for both languages.

The options of a view (its arguments, menus, keys and saved state) and its measures (titles, units, scales of legends
and axes) are declared here, one file for each view. `wire.typescript` writes them for the page; `widgets` and `figures`
read them as they are. Knows nothing of models, pictures or the page.
"""
