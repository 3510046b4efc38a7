"""How fast a model is, against the plain way and against the machine; and ways to run it elsewhere."""
