"""How the tables of a library come to be, and change from one version of tuningfork to the next."""
