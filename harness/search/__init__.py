"""`dogerm search`: more than one λ, chosen by Optuna, on one machine or many."""
