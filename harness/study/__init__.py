"""Studies: points of a recipe's parameters are proposed, measured, chosen among and proven."""
