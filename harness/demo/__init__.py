"""`dogerm demo`: the whole way on a real model that comes with pip."""
