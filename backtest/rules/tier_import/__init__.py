"""Import of tier tables: files of tools and raw answers of venues, as dated tables in the user's own folder."""
