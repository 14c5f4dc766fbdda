"""The recipe that trains the bundled model; no part of the package, users never need it."""
