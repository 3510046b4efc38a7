"""Files of any system, judged: which belong together, what judges see in them, the field's figures, and the report."""
