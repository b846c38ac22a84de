"""How `draw_crops` draws: solids, the people made of them, and the places they walk through."""
