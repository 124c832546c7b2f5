"""Files that come from elsewhere: fetched once, verified, kept."""
