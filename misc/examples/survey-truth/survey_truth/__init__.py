"""An aerial survey of a made-up place of which everything is known: heights, cameras, lens."""
